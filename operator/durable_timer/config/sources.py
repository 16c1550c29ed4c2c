"""Where settings come from: flags before environment before file before defaults, and messages that say which."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import yaml
from pydantic import BaseModel, JsonValue, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource
from pydantic_settings.exceptions import SettingsError

from durable_timer.config.settings import Settings
from durable_timer.errors import ConfigError
from durable_timer.logs import masked
from durable_timer.models.manifest import DNS_LABEL_PATTERN

Tree = dict[str, JsonValue]
Flags = Mapping[str, str | None]
"""Settings by their dotted names, as texts; None for flags that were not given."""

ENV_PREFIX: Final = "DURABLE_TIMER_"
_SHOWN: Final = 64
_SECRET: Final = frozenset({("store",), ("stores",), ("tracing", "endpoint")})
"""Settings that may carry a password: a wrong one, or what is in it, may be anything, so it is not repeated."""


def load(file: Path | None, flags: Flags) -> Settings:
    """The settings of this process.

    Raises:
        ConfigError: The file cannot be read or names unknown settings, or a value breaks a rule; the message has a line
            for each, with the place (flag, variable, or file and key), the rule, and the value unless it is secret.
    """
    sources = [
        _Source("", _tree({name: text for name, text in flags.items() if text is not None})),
        _Source(ENV_PREFIX, _environment()),
    ]
    if file is not None:
        sources.append(_Source(str(file), _read(file)))
    merged: Tree = {}
    for source in reversed(sources):
        _merge(merged, source.values)
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        problems = [_message(details, sources) for details in error.errors(include_url=False)]
        raise ConfigError("\n".join(problems)) from None


class _Source:
    """Values as one source gives them, and how it calls a setting."""

    def __init__(self, name: str, values: Tree) -> None:
        self.values = values
        self._name = name

    def has(self, path: tuple[str, ...]) -> bool:
        place: JsonValue = self.values
        for step in path:
            if not isinstance(place, dict) or step not in place:
                return False
            place = place[step]
        return True

    def place(self, path: tuple[str, ...]) -> str:
        """How a reader finds the setting: `--listen`, `DURABLE_TIMER_LOG__LEVEL`, `config.yaml: log.level`."""
        if not self._name:
            return flag(".".join(path))
        if self._name == ENV_PREFIX:
            return variable(".".join(path))
        return f"{self._name}: {'.'.join(path)}"


def variable(name: str) -> str:
    """The environment variable of a setting by its dotted name."""
    return ENV_PREFIX + name.replace(".", "__").upper()


FLAGS: Final = {
    "listen": "--listen",
    "store": "--store",
    "groups": "--groups",
    "log.format": "--log-format",
    "log.level": "--log-level",
}
"""Settings with a flag of their own; `--set NAME=VALUE` reaches all."""


def flag(name: str) -> str:
    """The flag of a setting by its dotted name."""
    return FLAGS.get(name, f"--set {name}")


def setting_names(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[str]:
    """The dotted names of all settings, in the order of the models."""
    for name, field in model.model_fields.items():
        part = field.annotation
        if isinstance(part, type) and issubclass(part, BaseModel):
            yield from setting_names(part, f"{prefix}{name}.")
        else:
            yield prefix + name


def _environment() -> Tree:
    try:
        return dict(EnvSettingsSource(Settings)())
    except SettingsError as error:
        raise ConfigError(f"environment: {masked(str(error))}") from None


def _tree(flat: Mapping[str, str]) -> Tree:
    tree: Tree = {}
    for name, text in flat.items():
        *parts, last = name.split(".")
        place = tree
        for part in parts:
            inner = place.setdefault(part, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"{flag(name)}: no such setting")
            place = inner
        place[last] = text
    return tree


def _merge(into: Tree, values: Tree) -> None:
    for name, value in values.items():
        present = into.get(name)
        if isinstance(present, dict) and isinstance(value, dict):
            _merge(present, value)
        else:
            into[name] = dict(value) if isinstance(value, dict) else value


def _read(file: Path) -> Tree:
    try:
        text = file.read_text(encoding="utf-8-sig")
        values = tomllib.loads(text) if file.suffix == ".toml" else yaml.safe_load(text)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: must be UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: must be TOML: {error}") from None
    except yaml.YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        where = f"{file}:{line + 1}" if line is not None else str(file)
        raise ConfigError(f"{where}: must be YAML: {getattr(error, 'problem', None) or 'it cannot be read'}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{file}: must be a mapping of settings")
    return values


def _message(details: ErrorDetails, sources: list[_Source]) -> str:
    path = tuple(str(step) for step in details["loc"])
    source = next((source for source in sources if source.has(path)), sources[0])
    name = ".".join(path)
    if details["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, list(setting_names()), n=1)
        return f"{source.place(path)}: no such setting" + (f"; did you mean {near[0]}?" if near else "")
    rule = _rule(details)
    value = details["input"]
    if _secret(path) or isinstance(value, dict | BaseModel) or ", not " in rule:
        return f"{source.place(path)}: {rule}"
    return f"{source.place(path)}: {rule}, not {str(value)[:_SHOWN]!r}"


def _secret(path: tuple[str, ...]) -> bool:
    return any(path[: len(secret)] == secret for secret in _SECRET)


def _rule(details: ErrorDetails) -> str:
    context = details.get("ctx", {})
    match details["type"]:
        case "value_error":
            return str(context["error"])
        case "greater_than_equal":
            return f"must be at least {context['ge']}"
        case "less_than_equal":
            return f"must be at most {context['le']}"
        case "enum":
            return f"must be {context['expected']}"
        case "string_too_long":
            return f"must have at most {context['max_length']} characters"
        case "string_pattern_mismatch" if context["pattern"] == DNS_LABEL_PATTERN:
            return "must be a DNS label (lower-case letters, digits and, inside, hyphens)"
        case "string_pattern_mismatch":
            return f"must match {context['pattern']}"
        case _:
            message = details["msg"]
            return message.replace("Input should be", "must be").replace("Value error, ", "")
