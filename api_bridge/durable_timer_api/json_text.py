"""Reading JSON strictly: RFC 8259 with names once, UTF-8 throughout, integers of 64 bits, 64 levels; and member by member.

Members are read one by one because a payload's own text is kept as it was received. Numbers that are whole are read as
integers however they are written (`1.0`, `1e3`), as JSON Schema sees them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, Final, NamedTuple, NoReturn

import orjson

from durable_timer.models.limits import JSON_DEPTH_MAX, JSON_INTEGER_MAX, JSON_INTEGER_MIN

_LONG_INTEGER: Final = re.compile(rb"[0-9]{19}")
_ESCAPED_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_EXACT_FLOAT_MAX: Final = 2.0**53
_INFINITY: Final = float("inf")
_skip_blanks: Final = re.compile(r"[ \t\n\r]*").match


class JsonError(ValueError):
    """The text is not the JSON it should be; the message says why."""


class JsonLimitError(JsonError):
    """A value is beyond a limit; `steps` lead to it from where the reading began."""

    def __init__(self, rule: str, steps: tuple[str | int, ...]) -> None:
        super().__init__(rule)
        self.rule = rule
        self.steps = steps


class JsonObject(NamedTuple):
    """An object's members, and the exact texts of those that were asked for."""

    members: dict[str, object]
    texts: dict[str, bytes]


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise JsonError(f"the name {twice!r} stands twice in one object")
    return members


def _number(text: str) -> float:
    value = float(text)
    if value in (_INFINITY, -_INFINITY):
        raise JsonError(f"the number {text[:32]} is too large")
    return int(value) if value.is_integer() and abs(value) < _EXACT_FLOAT_MAX else value


def _constant(name: str) -> NoReturn:
    raise JsonError(f"{name} is not JSON")


_decoder: Final[Any] = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_number, parse_constant=_constant)
_scan_once: Final[Callable[[str, int], tuple[object, int]]] = _decoder.scan_once
_scan_string: Final[Callable[[str, int, bool], tuple[str, int]]] = _decoder.parse_string


def parse(body: bytes) -> object:
    """Reads a whole JSON text.

    Raises:
        JsonError: It is not JSON, or breaks one of the rules above.
    """
    cursor = Cursor(body)
    value = cursor.value()
    cursor.end()
    return value


class Cursor:
    """Walks through a JSON text. The first use of it is a value, an object or an array; the last is `end`."""

    __slots__ = ("_at", "_guarded", "_text")

    def __init__(self, body: bytes) -> None:
        try:
            self._text = body.decode()
        except UnicodeDecodeError as error:
            raise JsonError(f"the body is not UTF-8 at byte {error.start}") from None
        self._guarded = bool(body.count(b"[") + body.count(b"{") > JSON_DEPTH_MAX or _LONG_INTEGER.search(body))
        if _ESCAPED_SURROGATE.search(body):
            _refuse_lone_surrogates(body)
        self._at = _skip_blanks(self._text, 0).end()  # type: ignore[union-attr]

    def value(self, *steps: str | int) -> object:
        """Reads the value that stands here; `steps` lead to it, for errors."""
        try:
            value, self._at = _scan_once(self._text, self._at)
        except StopIteration:
            raise self._unexpected() from None
        except json.JSONDecodeError as error:
            raise JsonError(f"the body is not JSON: {error.msg} at character {error.pos}") from None
        except RecursionError:
            raise JsonError(f"the body is nested deeper than {JSON_DEPTH_MAX} levels") from None
        except ValueError as error:
            raise (
                error if isinstance(error, JsonError) else JsonError("the body has a number that is too long")
            ) from None
        if self._guarded:
            _check(value, steps)
        return value

    def is_at(self, character: str) -> bool:
        """Whether the value that stands here begins so."""
        return self._text.startswith(character, self._at)

    def object(self, lifted: Collection[str] = (), *steps: str | int) -> JsonObject:
        """Reads the object that stands here, keeping the texts of the members named in `lifted`."""
        members: dict[str, object] = {}
        texts: dict[str, bytes] = {}
        for name in self.names():
            begin = self._at
            members[name] = self.value(*steps, name)
            if name in lifted:
                texts[name] = self._text[begin : self._at].encode()
        return JsonObject(members, texts)

    def names(self) -> Iterator[str]:
        """The names of the object that stands here; each one's value is to be read before the next is asked for."""
        self._expect("{")
        if self._take("}"):
            return
        seen = set()
        while True:
            name = self._name()
            if name in seen:
                raise JsonError(f"the name {name!r} stands twice in one object")
            seen.add(name)
            self._expect(":")
            yield name
            if not self._more("}"):
                return

    def items(self) -> Iterator[None]:
        """The items of the array that stands here; each is to be read before the next is asked for."""
        self._expect("[")
        if self._take("]"):
            return
        while True:
            yield
            if not self._more("]"):
                return

    def end(self) -> None:
        """Nothing may follow."""
        if _skip_blanks(self._text, self._at).end() != len(self._text):  # type: ignore[union-attr]
            raise JsonError(f"the body is not JSON: something follows its end at character {self._at}")

    def _name(self) -> str:
        if not self._text.startswith('"', self._at):
            raise self._unexpected()
        try:
            name, self._at = _scan_string(self._text, self._at + 1, True)
        except json.JSONDecodeError as error:
            raise JsonError(f"the body is not JSON: {error.msg} at character {error.pos}") from None
        return name

    def _more(self, closing: str) -> bool:
        self._at = _skip_blanks(self._text, self._at).end()  # type: ignore[union-attr]
        if self._take(closing):
            return False
        self._expect(",")
        return True

    def _take(self, character: str) -> bool:
        if not self._text.startswith(character, self._at):
            return False
        self._at += 1
        return True

    def _expect(self, character: str) -> None:
        text, at = self._text, _skip_blanks(self._text, self._at).end()  # type: ignore[union-attr]
        if not text.startswith(character, at):
            self._at = at
            raise self._unexpected()
        self._at = _skip_blanks(text, at + 1).end()  # type: ignore[union-attr]

    def _unexpected(self) -> JsonError:
        found = repr(self._text[self._at]) if self._at < len(self._text) else "the end"
        return JsonError(f"the body is not JSON: unexpected {found} at character {self._at}")


def _refuse_lone_surrogates(body: bytes) -> None:
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise JsonError(f"the body is not JSON: {error.msg} at character {error.pos}") from None


def _check(value: object, steps: tuple[str | int, ...], depth: int = 1) -> None:
    children: Iterable[tuple[str | int, object]]
    if isinstance(value, dict):
        children = value.items()
    elif isinstance(value, list):
        children = enumerate(value)
    else:
        if type(value) is int and not JSON_INTEGER_MIN <= value <= JSON_INTEGER_MAX:
            raise JsonLimitError("must be a number of at most 64 bits", steps)
        return
    if depth > JSON_DEPTH_MAX:
        raise JsonLimitError(f"must be nested at most {JSON_DEPTH_MAX} levels deep", steps[:-JSON_DEPTH_MAX])
    for step, child in children:
        _check(child, (*steps, step), depth + 1)
