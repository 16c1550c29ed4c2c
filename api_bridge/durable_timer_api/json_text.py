"""Reading JSON strictly: RFC 8259 with names once, UTF-8 throughout, integers of 64 bits, 64 levels; and member by member.

Members are read one by one because a payload's own text is kept as it was received. Numbers that are whole are read as
integers however they are written (`1.0`, `1e3`), as JSON Schema sees them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final, NamedTuple, NoReturn

import orjson

from durable_timer.models.limits import JSON_DEPTH_MAX
from durable_timer_api.json_limits import JsonCutError, JsonError, may_be_beyond, require_within

_escapes_a_surrogate: Final = re.compile(r"\\u[dD][89a-fA-F]").search
_LOOSE_END: Final = 16
"""Characters; where a text is cut in a literal, a number or an escape, it is wrong at most this far before its end."""

_EXACT_FLOAT_MAX: Final = 2.0**53
_INFINITY: Final = float("inf")
_skip_blanks: Final = re.compile(r"[ \t\n\r]*").match


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
    cursor = cursor_of(body)
    value = cursor.value()
    cursor.end()
    return value


def cursor_of(body: bytes) -> Cursor:
    """A cursor at a text's beginning.

    Raises:
        JsonError: It is not UTF-8.
    """
    try:
        return Cursor(body.decode(), escaped=b"\\u" in body)
    except UnicodeDecodeError as error:
        raise JsonError(f"the body is not UTF-8 at byte {error.start}") from None


class Cursor:
    """Walks through a JSON text. The first use of it is a value, an object or an array; the last is `end`."""

    __slots__ = ("_at", "_base", "_cut", "_escaped", "_text")

    def __init__(self, text: str, base: int = 0, *, escaped: bool, cut: bool = False) -> None:
        self._text = text
        self._base = base
        self._escaped = escaped
        self._cut = cut
        self._at = _skip_blanks(text, 0).end()  # type: ignore[union-attr]

    @property
    def at(self) -> int:
        """How many characters have been read."""
        return self._at

    def piece(self, size: int) -> Cursor | None:
        """A cursor over the next `size` characters alone, to read one value with; None when no more are left.

        It raises JsonCutError where the value is longer. `go_on_after` moves behind what it has read.
        """
        text, at = self._text, self._at
        if len(text) - at <= size:
            return None
        return Cursor(text[at : at + size], self._base + at, escaped=self._escaped, cut=True)

    def go_on_after(self, piece: Cursor) -> None:
        """Moves to where the piece's reading ended."""
        self._at = piece._base + piece._at - self._base

    def value(self, *steps: str | int) -> object:
        """Reads the value that stands here; `steps` lead to it, for errors."""
        begin = self._at
        try:
            value, end = _scan_once(self._text, begin)
        except StopIteration as stop:
            raise self._unexpected(stop.value) from None
        except json.JSONDecodeError as error:
            raise self._broken_off(error) from None
        except RecursionError:
            raise JsonError(f"the body is nested deeper than {JSON_DEPTH_MAX} levels") from None
        except ValueError as error:
            raise (
                error if isinstance(error, JsonError) else JsonError("the body has a number that is too long")
            ) from None
        if self._cut and end == len(self._text):
            raise JsonCutError
        if self._escaped:
            self._refuse_lone_surrogates(begin, end)
        kind = type(value)
        if kind is int or ((kind is dict or kind is list) and may_be_beyond(self._text, begin, end)):
            require_within(value, steps)
        self._at = end
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
            raise JsonError(f"the body is not JSON: something follows its end at character {self._base + self._at}")

    def _name(self) -> str:
        begin = self._at
        if not self._text.startswith('"', begin):
            raise self._unexpected(begin)
        try:
            name, self._at = _scan_string(self._text, begin + 1, True)
        except json.JSONDecodeError as error:
            raise self._broken_off(error) from None
        if self._escaped:
            self._refuse_lone_surrogates(begin, self._at)
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
            raise self._unexpected(at)
        self._at = _skip_blanks(text, at + 1).end()  # type: ignore[union-attr]

    def _unexpected(self, at: int) -> JsonError:
        found = repr(self._text[at]) if at < len(self._text) else "the end"
        return self._wrong(f"unexpected {found}", at)

    def _broken_off(self, error: json.JSONDecodeError) -> JsonError:
        if self._cut and error.msg.startswith("Unterminated string"):
            return JsonCutError()
        return self._wrong(error.msg, error.pos)

    def _wrong(self, what: str, at: int) -> JsonError:
        if self._cut and at >= len(self._text) - _LOOSE_END:
            return JsonCutError()
        return JsonError(f"the body is not JSON: {what} at character {self._base + at}")

    def _refuse_lone_surrogates(self, begin: int, end: int) -> None:
        if _escapes_a_surrogate(self._text, begin, end) is None:
            return
        try:
            orjson.loads(self._text[begin:end])
        except orjson.JSONDecodeError as error:
            at = self._base + begin + error.pos
            raise JsonError(f"the body is not JSON: {error.msg} at character {at}") from None
