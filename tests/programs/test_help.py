"""Help that teaches: every command says what it does and shows how."""

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from durable_timer import __version__
from durable_timer.cli import cli

PROGRAMS = ("standalone", "bridge", "executor", "operator")


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def text(*path: str) -> str:
    result = CliRunner().invoke(cli, [*path, "--help"])
    assert result.exit_code == 0
    return result.output


def test_the_commands_are_those_that_are_promised() -> None:
    assert set(commands(cli)) == {
        ("standalone",), ("bridge",), ("executor",), ("operator",), ("migrate",),
        ("groups",), ("groups", "apply"), ("groups", "list"), ("groups", "purge"), ("groups", "transfer"),
        ("groups", "release"),
        ("uninstall",), ("config",), ("config", "show"), ("config", "validate"),
    }  # fmt: skip


@pytest.mark.parametrize("path", list(commands(cli)), ids=" ".join)
def test_each_command_explains_itself(path: tuple[str, ...]) -> None:
    said = text(*path)
    assert "Commands:" in said or "Example" in said
    assert "\b" not in said
    if "Example" in said:
        assert f"durable-timer {' '.join(path)}" in said


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_programs_take_the_same_flags(program: str) -> None:
    said = text(program)
    for flag in ("--listen", "--store", "--config", "--set", "--log-format", "--log-level"):
        assert flag in said
    assert ("--groups" in said) == (program != "operator")


def test_the_first_page_names_every_command_and_exit_code() -> None:
    said = text()
    assert all(name in said for name in cli.commands)
    assert "Exit codes" in said


def test_the_version_is_the_packages() -> None:
    assert __version__ in CliRunner().invoke(cli, ["--version"]).output
