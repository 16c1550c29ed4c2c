"""Reading JSON: strictly, the same by both ways, and member by member with their texts."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from durable_timer_api.json_fast import read_object
from durable_timer_api.json_text import Cursor, JsonError, JsonObject, parse

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
    cursor = Cursor(body)
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


def test_the_ordinary_case_is_the_fast_one() -> None:
    body = json.dumps(
        {"id": "a", "executeAt": "2030-01-01T00:00:00Z", "callbackUrl": "http://host:80/", "payload": {"n": [1]}}
    )
    for text in (body, body.replace(" ", "")):
        found = read_object(text.encode(), ("payload",))
        assert found is not None
        assert json.loads(found.texts["payload"]) == {"n": [1]}
