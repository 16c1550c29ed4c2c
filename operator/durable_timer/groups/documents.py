"""YAML and JSON files as JSON values that know their lines. JSON files are read as the YAML they are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import yaml
from pydantic import JsonValue

from durable_timer.models.limits import JSON_DEPTH_MAX, JSON_INTEGER_MAX, JSON_INTEGER_MIN

Location = tuple[str | int, ...]
"""Where in a document: keys and, in lists, indices from 0."""

DOCUMENT_NODES_MAX: Final = 50_000
"""Values of one document, those of aliases counted each time: a document of aliases of aliases ends here."""

_PLAIN_TAGS: Final = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str")}
_TIMESTAMP_TAG: Final = "tag:yaml.org,2002:timestamp"


@dataclass(frozen=True, slots=True)
class Problem:
    """A rule that a file breaks: where, and which."""

    file: Path
    line: int
    location: Location
    rule: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}"
        return f"{where}: {dotted(self.location)}: {self.rule}" if self.location else f"{where}: {self.rule}"


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file; `lines` has the line (from 1) of each key, or of each item of a list."""

    file: Path
    value: JsonValue
    lines: dict[Location, int] = field(repr=False)

    def line(self, location: Location) -> int:
        """The line of that place, or of the nearest one around it that the document has."""
        while location not in self.lines:
            location = location[:-1]
        return self.lines[location]

    def problem(self, location: Location, rule: str) -> Problem:
        """A problem at that place of this document."""
        return Problem(self.file, self.line(location), location, rule)


def dotted(location: Location) -> str:
    """A place as people write it: `spec.callback.signing.secretRefs[1].name`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return text.removeprefix(".")


def read_documents(file: Path) -> tuple[list[Document], list[Problem]]:
    """The documents of a file that are not empty, and what is wrong with the file as YAML.

    Where something is wrong, null stands in the document (or, of a key given twice, its first value), so that the rest
    of it can be looked at all the same.

    Raises:
        OSError: The file cannot be read.
    """
    documents: list[Document] = []
    problems: list[Problem] = []
    try:
        text = file.read_text(encoding="utf-8-sig")
        if file.suffix == ".json":
            text = text.replace("\t", " ")  # YAML takes no tabs for indentation; JSON has them nowhere else
        for node in yaml.compose_all(text, yaml.SafeLoader):
            reader = _Reader(file)
            value = reader.read(node, ())
            problems.extend(reader.problems)
            if value is not None:
                documents.append(Document(file, value, reader.lines))
    except UnicodeDecodeError:
        problems.append(Problem(file, 1, (), "must be UTF-8"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problems.append(
            Problem(file, mark.line + 1 if mark else 1, (), f"must be YAML: {error.problem or error.context}")
        )
    except yaml.reader.ReaderError as error:
        problems.append(Problem(file, 1, (), f"must be YAML: {error.reason} (character {error.position})"))
    except RecursionError:
        problems.append(Problem(file, 1, (), f"must not nest deeper than {JSON_DEPTH_MAX} levels"))
    return documents, problems


class _Reader:
    """Turns the nodes of one document into a JSON value, noting lines and all that JSON has no word for."""

    def __init__(self, file: Path) -> None:
        self.lines: dict[Location, int] = {}
        self.problems: list[Problem] = []
        self._file = file
        self._nodes = 0
        self._scalars = yaml.constructor.SafeConstructor()

    def read(self, node: yaml.Node, location: Location) -> JsonValue:
        self.lines.setdefault(location, node.start_mark.line + 1)
        self._nodes += 1
        if self._nodes > DOCUMENT_NODES_MAX:
            if self._nodes == DOCUMENT_NODES_MAX + 1:
                self._refuse(node, (), f"must have at most {DOCUMENT_NODES_MAX} values, those of aliases included")
            return None
        if len(location) > JSON_DEPTH_MAX:
            self._refuse(node, location[:3], f"must not nest deeper than {JSON_DEPTH_MAX} levels")
            return None
        if isinstance(node, yaml.MappingNode):
            return {key: self.read(item, (*location, key)) for key, item in self._items(node, location)}
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*location, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, location)

    def _items(self, node: yaml.MappingNode, location: Location) -> Iterator[tuple[str, yaml.Node]]:
        seen: dict[str, int] = {}
        for key_node, item in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag not in _PLAIN_TAGS:
                self._refuse(key_node, location, "must have plain keys only (no merge keys, no lists)")
                continue
            key = self._text(key_node, location)
            if key in seen:
                self._refuse(key_node, (*location, key), f"must be given once; it is on line {seen[key]}, too")
                continue
            seen[key] = line
            self.lines[*location, key] = line
            yield key, item

    def _scalar(self, node: yaml.Node, location: Location) -> JsonValue:
        if node.tag == _TIMESTAMP_TAG:
            return str(node.value)
        if node.tag not in _PLAIN_TAGS:
            self._refuse(node, location, f"must be plain YAML, without {node.tag}")
            return None
        try:
            value: JsonValue = self._scalars.construct_object(node)
        except (ValueError, yaml.constructor.ConstructorError):
            self._refuse(node, location, f"cannot be read: {str(node.value)[:64]!r}")
            return None
        if isinstance(value, str):
            return self._text(node, location)
        if isinstance(value, float) and not math.isfinite(value):
            self._refuse(node, location, "must be a finite number")
            return None
        if isinstance(value, int) and not JSON_INTEGER_MIN <= value <= JSON_INTEGER_MAX:
            self._refuse(node, location, "must be an integer of 64 bits")
            return None
        return value

    def _text(self, node: yaml.Node, location: Location) -> str:
        """The text of a scalar; PyYAML leaves a character that JSON escapes as two halves in two halves."""
        text = str(node.value)
        try:
            return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self._refuse(node, location, "must be text of whole characters")
            return ""

    def _refuse(self, node: yaml.Node, location: Location, rule: str) -> None:
        self.problems.append(Problem(self._file, node.start_mark.line + 1, location, rule))
