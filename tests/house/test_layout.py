"""What the layout promises and no linter looks for."""

import re
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import durable_timer

ROOT = Path(__file__).parents[2]
SOURCES = [
    path
    for root in ("operator", "api_bridge", "tests", "bench", "faults", "e2e")
    for path in (ROOT / root).rglob("*.py")
]
LONGEST_MODULE = 600


def pins() -> dict[str, Version]:
    lock = (ROOT / "requirements.lock").read_text()
    return {name: Version(number) for name, number in re.findall(r"^([a-z0-9-]+)==([^\s;]+)", lock, re.MULTILINE)}


def requirements() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    named = map(Requirement, [*project["dependencies"], *extras])
    return [requirement for requirement in named if requirement.name != project["name"]]


@pytest.mark.parametrize("requirement", requirements(), ids=lambda requirement: requirement.name)
def test_the_lock_pins_what_the_project_asks_for(requirement: Requirement) -> None:
    assert requirement.specifier.contains(pins()[requirement.name]), "run `make lock`"


def test_the_lock_can_be_installed_from_any_registry() -> None:
    assert "://" not in (ROOT / "requirements.lock").read_text()


def test_the_source_roots_are_no_packages() -> None:
    """An `operator/__init__.py` would shadow the standard library's module."""
    assert not [root for root in ("operator", "api_bridge") if (ROOT / root / "__init__.py").exists()]


def test_no_module_is_named_as_one_of_the_standard_library() -> None:
    packages = [path for path in SOURCES if path.is_relative_to(ROOT / "operator")]
    ambiguous = {"types", "queue", "logging", "json", "operator"}
    assert ambiguous <= sys.stdlib_module_names
    assert not [path for path in packages if path.stem in ambiguous]
    assert not (ROOT / "tests" / "operator").exists()


def test_no_module_outgrows_a_reader() -> None:
    lengths = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in SOURCES}
    assert not {path: length for path, length in lengths.items() if length > LONGEST_MODULE}


def test_every_target_of_make_says_what_it_does() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE) == re.findall(
        r"^([a-z0-9-]+):.*## ", makefile, re.MULTILINE
    )


def test_the_version_installed_is_the_version_written() -> None:
    assert version("durable-timer") == durable_timer.__version__
