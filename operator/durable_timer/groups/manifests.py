"""TimerGroup manifests from files: the same documents that Kubernetes would take."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson
from pydantic import JsonValue, ValidationError
from pydantic_core import ErrorDetails

from durable_timer.errors import ManifestError
from durable_timer.groups.documents import Document, Location, Problem, read_documents
from durable_timer.models.group import KIND, TimerGroupManifest
from durable_timer.models.manifest import DNS_LABEL_PATTERN, DNS_SUBDOMAIN_PATTERN

SUFFIXES: Final = (".yaml", ".yml", ".json")
"""What a file in a folder of manifests is called; others are left alone."""

_PATTERNS: Final = {
    DNS_LABEL_PATTERN: "must be a DNS label (lower-case letters, digits and, inside, hyphens)",
    DNS_SUBDOMAIN_PATTERN: "must be a DNS name (lower-case letters, digits and, inside, hyphens and dots)",
}

_SHOWN: Final = 64
"""Characters of a wrong value that a message shows."""


@dataclass(frozen=True, slots=True)
class LoadedManifest:
    """A manifest, and the document it was read from."""

    manifest: TimerGroupManifest
    document: Document

    @property
    def owner(self) -> str:
        """As whom the group is registered; the name alone, so that its file may be renamed."""
        return f"file:{self.manifest.metadata.name}"

    @property
    def id_location(self) -> Location:
        """The field that names the group's id."""
        return ("spec", "groupId") if self.manifest.spec.group_id is not None else ("metadata", "name")


def load_manifests(path: Path) -> list[LoadedManifest]:
    """The manifests of a file, or of all YAML and JSON files right inside a folder, by name.

    Raises:
        ManifestError: A file cannot be read, or anything in it is wrong: each wrong field of each document is named,
            with file, line and rule.
    """
    loaded: list[LoadedManifest] = []
    problems: list[Problem] = []
    for file in _files(path):
        try:
            documents, broken = read_documents(file)
        except OSError as error:
            raise ManifestError(f"{file}: cannot be read: {error.strerror}") from None
        problems.extend(broken)
        for document in documents:
            manifest = _manifest(document, problems)
            if manifest is not None:
                loaded.append(LoadedManifest(manifest, document))
    problems.extend(_told_twice(loaded))
    raise_problems(sorted(problems, key=lambda problem: (problem.file, problem.line)))
    return loaded


def raise_problems(problems: Iterable[Problem]) -> None:
    """Raises all problems as one ManifestError, one a line; returns when there are none."""
    lines = [str(problem) for problem in problems]
    if lines:
        raise ManifestError("\n".join(lines))


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    try:
        return sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and file.is_file())
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read: {error.strerror}") from None


def _manifest(document: Document, problems: list[Problem]) -> TimerGroupManifest | None:
    value = document.value
    kind = value.get("kind") if isinstance(value, dict) else None
    if kind is not None and kind != KIND:
        problems.append(document.problem(("kind",), _wrong_kind(kind)))
        return None
    try:
        return TimerGroupManifest.model_validate_json(orjson.dumps(value))
    except ValidationError as error:
        problems.extend(document.problem(details["loc"], _rule(details)) for details in error.errors(include_url=False))
    return None


def _wrong_kind(kind: JsonValue) -> str:
    if kind == "Timer":
        return "a Timer is declared in Kubernetes only; create it over REST here"
    return f"must be {KIND}, not {_shown(kind)}"


def _rule(details: ErrorDetails) -> str:
    """Pydantic's words for a wrong field as this project's."""
    match details["type"]:
        case "missing":
            return "is required"
        case "extra_forbidden":
            return f"is not a field here{_meant(details['loc'])}"
        case "value_error":
            return str(details["ctx"]["error"])
        case "string_pattern_mismatch" if details["ctx"]["pattern"] in _PATTERNS:
            return f"{_PATTERNS[details['ctx']['pattern']]}, not {_shown(details['input'])}"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"must be a mapping, not {_shown(details['input'])}"
        case _:
            return f"{_must(details)}, not {_shown(details['input'])}"


def _must(details: ErrorDetails) -> str:
    return re.sub("^(Input|String|Tuple|Dictionary) should", "must", details["msg"])


def _shown(value: object) -> str:
    text = orjson.dumps(value, default=repr).decode()
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _meant(location: Location) -> str:
    """Which field an unknown one may have been meant to be."""
    close = difflib.get_close_matches(str(location[-1]), _field_names(TimerGroupManifest.model_json_schema()), 1)
    return f"; did you mean {close[0]}?" if close else ""


def _field_names(schema: JsonValue) -> list[str]:
    found: list[str] = []
    if isinstance(schema, dict):
        for key, part in schema.items():
            if key == "properties" and isinstance(part, dict):
                found.extend(part)
            found.extend(_field_names(part))
    return found


def _told_twice(loaded: Iterable[LoadedManifest]) -> list[Problem]:
    """Groups that two documents declare."""
    problems: list[Problem] = []
    first: dict[str, LoadedManifest] = {}
    for one in loaded:
        group_id = one.manifest.group_id
        other = first.setdefault(group_id, one)
        if other is not one:
            where = f"{other.document.file}:{other.document.line(other.id_location)}"
            problems.append(one.document.problem(one.id_location, f"group {group_id!r} is declared in {where}, too"))
    return problems
