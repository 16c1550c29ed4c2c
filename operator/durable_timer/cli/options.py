"""The options that commands share, and how they become settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from durable_timer.config import Settings, load
from durable_timer.logs import LogFormat, LogLevel

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: Final[dict[str, Callable[[Any], Any]]] = {
    "listen": click.option(
        "--listen", metavar="HOST:PORT", help="Address to serve on; :PORT for all interfaces. [default: 127.0.0.1:8080]"
    ),
    "store": click.option(
        "--store",
        metavar="URL",
        help="The database: sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE. "
        "[default: sqlite:///durable-timer.sqlite]",
    ),
    "groups": click.option(
        "--groups",
        metavar="FILE|FOLDER",
        help="TimerGroup manifests to register at start; without, the groups that the store has.",
    ),
    "log": lambda command: click.option(
        "--log-format",
        type=click.Choice([choice.value for choice in LogFormat]),
        help="How a log line looks. [default: console]",
    )(
        click.option(
            "--log-level",
            type=click.Choice([choice.value for choice in LogLevel]),
            help="The least level that is logged. [default: info]",
        )(command)
    ),
}


def settings_options(*names: str) -> Callable[[F], F]:
    """Gives a command the options of these names, and always `--config` and `--set`; it is called with `settings`."""

    def decorate(command: F) -> F:
        def with_settings(*args: Any, config_file: Path | None, assignments: tuple[str, ...], **kwargs: Any) -> Any:
            flags = {_SETTING.get(name, name): kwargs.pop(name) for name in _flag_names(names)}
            return command(*args, settings=_load(config_file, flags, assignments), **kwargs)

        with_settings.__name__ = command.__name__
        with_settings.__doc__ = command.__doc__
        decorated: Any = with_settings
        for option in reversed([*(_OPTIONS[name] for name in names), _CONFIG, _SET]):
            decorated = option(decorated)
        return decorated  # type: ignore[no-any-return] # click's decorators keep what they are given

    return decorate


_SETTING: Final = {"log_format": "log.format", "log_level": "log.level"}

_CONFIG: Final = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    envvar="DURABLE_TIMER_CONFIG",
    metavar="FILE",
    help="Settings as YAML or TOML. Flags win over DURABLE_TIMER_… variables, and those over the file.",
)

_SET: Final = click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="Any other setting, by its dotted name, such as engine.slots=2000; may be repeated.",
)


def _flag_names(names: tuple[str, ...]) -> list[str]:
    return [flag for name in names for flag in (("log_format", "log_level") if name == "log" else (name,))]


def _load(file: Path | None, flags: dict[str, str | None], assignments: tuple[str, ...]) -> Settings:
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name:
            raise click.BadParameter("must be NAME=VALUE", param_hint="--set")
        if flags.get(name) is not None:
            raise click.BadParameter(f"{name} is given by its own flag, too", param_hint="--set")
        flags[name] = value
    return load(file, flags)
