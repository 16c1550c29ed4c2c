"""Reading JSON: strictly, the same by both ways, and member by member with their texts."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from durable_timer_api.json_fast import read_object
from durable_timer_api.json_limits import JsonCutError, JsonError
from durable_timer_api.json_text import JsonObject, cursor_of, parse

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=5), children, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(["payload", "id", "a", ":", "x:", "payloads", '"', "ü"]) | st.text(max_size=4)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=5)
PAIRS = st.lists(
    st.tuples(st.sampled_from(["payload", "id", "a"]), st.integers(0, 9) | st.sampled_from([":", " :", "b"])),
    max_size=4,
)
SEPARATORS = st.sampled_from([(",", ":"), (", ", ": "), (" ,", " :"), (",\n", ":\t"), (", ", ":")])


def slow(body: bytes) -> JsonObject:
    cursor = cursor_of(body)
    document = cursor.object(("payload",))
    cursor.end()
    return document


def written(value: object, separators: tuple[str, str], *, escaped: bool) -> bytes:
    return json.dumps(value, separators=separators, ensure_ascii=escaped).encode()


def canonical(value: object) -> object:
    """Python holds 1 and 1.0 and True for equal; texts tell them apart."""
    return json.dumps(value)


@given(OBJECTS, SEPARATORS, st.booleans())
def test_an_object_is_read_with_its_payloads_text(
    value: dict[str, Any], separators: tuple[str, str], escaped: bool
) -> None:
    body = written(value, separators, escaped=escaped)
    found = slow(body)
    assert found.members == value
    assert found.texts.keys() == ({"payload"} if "payload" in value else set())
    if "payload" in value:
        assert found.texts["payload"] == written(value["payload"], separators, escaped=escaped)


@given(OBJECTS, SEPARATORS, st.booleans())
@example({"payload": {"payload": 1}, "a": 2}, (",", ":"), False)
@example({"a": {"payload": 1}, "payload": "payload"}, (",", ":"), False)
@example({"a": ":x", "payload": ":"}, (",", ":"), False)
def test_both_ways_read_the_same(value: dict[str, Any], separators: tuple[str, str], escaped: bool) -> None:
    body = written(value, separators, escaped=escaped)
    fast, exact = read_object(body, ("payload",)), slow(body)
    if fast is not None:
        assert canonical(fast.members) == canonical(exact.members)
        assert fast.texts == exact.texts


@given(PAIRS, SEPARATORS)
def test_a_name_that_stands_twice_is_refused_by_both_ways(
    pairs: list[tuple[str, object]], separators: tuple[str, str]
) -> None:
    comma, colon = separators
    body = ("{" + comma.join(f"{json.dumps(name)}{colon}{json.dumps(value)}" for name, value in pairs) + "}").encode()
    if len(dict(pairs)) == len(pairs):
        assert slow(body).members == dict(pairs)
    else:
        assert read_object(body, ("payload",)) is None
        with pytest.raises(JsonError, match="stands twice"):
            slow(body)


@given(st.binary(max_size=40) | st.text('{}[]":,\\ \t1.eEx-ntu"', max_size=25).map(str.encode))
def test_what_is_refused_is_what_a_strict_reader_refuses(body: bytes) -> None:
    def strict() -> object:
        def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
            if len(dict(pairs)) != len(pairs):
                raise ValueError
            return dict(pairs)

        def refuse(text: str) -> None:
            raise ValueError(text)

        value = json.loads(body.decode(), object_pairs_hook=unique, parse_constant=refuse)
        json.dumps(value, ensure_ascii=False).encode()
        return value

    try:
        expected = strict()
    except ValueError:
        with pytest.raises(JsonError):
            parse(body)
        assert read_object(body, ()) is None
    else:
        if "Infinity" not in json.dumps(expected):
            assert parse(body) == expected


@given(st.lists(VALUES) | st.dictionaries(NAMES, VALUES) | st.text() | st.integers(0, 2**63), st.booleans(), st.data())
def test_a_value_longer_than_the_piece_it_is_read_from_is_told_from_a_wrong_one(
    value: object, escaped: bool, data: st.DataObject
) -> None:
    text = written(value, (", ", ": "), escaped=escaped).decode()
    size = data.draw(st.integers(1, len(text)))
    cursor = cursor_of(f"[{text}, 1]".encode())
    next(cursor.items())
    piece = cursor.piece(size)
    assert piece is not None
    if size < len(text) or isinstance(value, int):
        with pytest.raises(JsonCutError):
            piece.value()
    whole = cursor.piece(len(text) + 1)
    assert whole is not None
    assert whole.value() == value
    cursor.go_on_after(whole)
    assert cursor.is_at(",")
    assert cursor.piece(5) is None


def test_what_is_wrong_in_a_piece_is_placed_in_the_whole() -> None:
    cursor = cursor_of(b'[{"a": 1}, {"a" 1}' + b" " * 100 + b"]")
    for place, _ in enumerate(cursor.items()):
        piece = cursor.piece(60)
        assert piece is not None
        if place == 0:
            piece.object()
            cursor.go_on_after(piece)
        else:
            with pytest.raises(JsonError, match="unexpected '1' at character 16"):
                piece.object()
            break


def test_the_ordinary_case_is_the_fast_one() -> None:
    body = json.dumps(
        {"id": "a", "executeAt": "2030-01-01T00:00:00Z", "callbackUrl": "http://host:80/", "payload": {"n": [1]}}
    )
    for text in (body, body.replace(" ", "")):
        found = read_object(text.encode(), ("payload",))
        assert found is not None
        assert json.loads(found.texts["payload"]) == {"n": [1]}
