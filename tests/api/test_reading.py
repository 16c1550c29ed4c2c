"""Reading a create: the short way and the long way are one."""

import json
import tracemalloc
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from durable_timer.models.group import PayloadSpec
from durable_timer.models.timer import NewTimer
from durable_timer_api import plain
from durable_timer_api.json_limits import JsonError
from durable_timer_api.json_text import cursor_of
from durable_timer_api.payloads import PayloadRules
from durable_timer_api.plain import plain_items, plain_timer
from durable_timer_api.problems import Wrong
from durable_timer_api.reading import Surroundings, new_timer

WHERE = Surroundings("demo", 16, PayloadRules(PayloadSpec(max_bytes=1024)), datetime(2026, 1, 1, tzinfo=UTC), "trace")
PICKY = WHERE._replace(payloads=PayloadRules(PayloadSpec(max_bytes=1024, json_schema={"type": "object"})))

AT, URL = '"2030-01-01T00:00:00Z"', '"http://host/x"'
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**65)
    | st.floats()
    | st.text()
    | st.sampled_from(["1.0", "-0", "1e5", "é\\", "\ud800"]),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=5), children, max_size=4),
    max_leaves=12,
)
WRITTEN = st.builds(
    lambda value, escaped, separators: json.dumps(value, ensure_ascii=escaped, separators=separators),
    JSON,
    st.booleans(),
    st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t: ")]),
)
ODD = st.sampled_from([
    '{"a":1,"a":2}', '[{"a": 1 ,"a" : "x"}]', '{"a":1E5,"a":12345}', '{"\\u0061":1,"a":1}', "-0", "-0.0", "1.0", "1e5",
    "0.1", "1.50", "1e400", "01", "[1,]", "tru", '"\\/"', '"\\u00e9"', '"\t"', "18446744073709551616", "1" * 30, "NaN",
    "[" * 64 + "]" * 64, "[" * 65 + "]" * 65, "[" + ",".join(["{}"] * 80) + "]", "[" * 3000, '"' + "x" * 2000 + '"', "",
])  # fmt: skip
TEXTS = {
    "id": st.sampled_from(['"a"', '"k8s:a"', '""', "5", "null", '"a/b"', '"\\u0061"', '"' + "x" * 255 + '"', '" "']),
    "executeAt": st.sampled_from([
        AT, '"2030-01-01T02:00:00.0000001+02:00"', '"2190-01-01T00:00:00Z"', "null", "1", '"tomorrow"',
        '"0001-01-01T00:00:00Z"', '"1969-07-20T20:17:40Z"', '"2030-01-01t00:00:00z"',
    ]),
    "callbackUrl": st.sampled_from([URL, '"ftp://host/x"', "null", "[]", '"http://0x1/"', '"http:\\/\\/host\\/x"']),
    "payload": WRITTEN | ODD,
    "delay": st.sampled_from(["null", '"5s"']),
}  # fmt: skip
MEMBERS = st.lists(
    st.sampled_from(sorted(TEXTS)).flatmap(lambda name: st.tuples(st.just(name), TEXTS[name])), max_size=6
)
GAPS = st.sampled_from(["", " ", "\n"])


def thoroughly(text: bytes, where: Surroundings) -> NewTimer | list[Wrong] | None:
    """None for what is not JSON."""
    try:
        cursor = cursor_of(text)
        document = cursor.object(("payload",))
        cursor.end()
    except JsonError:
        return None
    return new_timer(document, where)


def agree(text: bytes, where: Surroundings) -> NewTimer | None:
    quickly, wholly = plain_timer(text, where), thoroughly(text, where)
    if isinstance(quickly, NewTimer) and isinstance(wholly, NewTimer) and b'"id"' not in text:
        quickly.timer_id, quickly.shard = wholly.timer_id, wholly.shard
    assert quickly is None or quickly == wholly
    return quickly


@given(MEMBERS, st.lists(st.tuples(st.just("payload"), WRITTEN | ODD), max_size=2), GAPS)
@example([("id", '"a"')], [("payload", "null")], "")
@example([("id", '"a"'), ("id", '"a"')], [], "")
@example([("id", '" "'), ("id", '"a"')], [], "")
@example([("executeAt", '"2190-01-01T00:00:00Z"')], [], "")
@example([("executeAt", '"0001-01-01T00:00:00Z"')], [], "")
@example([("executeAt", '"2030-01-01T02:00:00.0000001+02:00"')], [], "")
@example([("callbackUrl", '"ftp://host/x"')], [], "")
def test_the_short_way_makes_what_the_long_way_makes_or_nothing(
    members: list[tuple[str, str]], payloads: list[tuple[str, str]], gap: str
) -> None:
    given_names = {name for name, _ in members}
    needed = [(name, text) for name, text in (("executeAt", AT), ("callbackUrl", URL)) if name not in given_names]
    members = [*members, *needed, *payloads]
    text = "{" + gap + f"{gap},{gap}".join(f'"{name}"{gap}:{gap}{value}' for name, value in members) + gap + "}"
    body = text.encode("utf-8", "surrogatepass")
    agree(body, WHERE)
    agree(body, PICKY)


@given(WRITTEN, GAPS)
def test_the_short_way_is_taken_wherever_it_can_be(payload: str, gap: str) -> None:
    text = f'{{{gap}"id":"a",{gap}"executeAt":{AT},"callbackUrl":{URL},"payload": {payload}{gap}}}'.encode(
        "utf-8", "surrogatepass"
    )
    assert agree(text, WHERE) == (wholly := thoroughly(text, WHERE)) or not isinstance(wholly, NewTimer)


LARGE = WHERE._replace(payloads=PayloadRules(PayloadSpec(max_bytes=2**20)))


@pytest.mark.parametrize(
    ("payload", "is_read"),
    [
        (["x" * 100_000], True),
        ([1] * 40_000, True),
        (["The quick brown fox jumps over the lazy dog. " * 20] * 100, True),
        ([{}] * 30_000, False),
        ([[]] * 100 + [1] * 40_000, False),
        ([1.5] * 20_000, False),
        ([{}] * 5_000, True),
        ([1.5] * 5_000, True),
    ],
    ids=["text", "integers", "sentences", "objects", "some arrays", "floats", "fewer objects", "fewer floats"],
)
def test_large_payloads_that_take_long_are_for_the_long_way(payload: list[object], *, is_read: bool) -> None:
    text = f'{{"id":"a","executeAt":{AT},"callbackUrl":{URL},"payload":{json.dumps(payload)}}}'.encode()
    assert isinstance(thoroughly(text, LARGE), NewTimer)
    assert (agree(text, LARGE) is not None) == is_read


def test_a_payload_that_is_too_large_for_its_group_is_not_read_to_be_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    read = list[bytes]()
    monkeypatch.setattr(plain, "_read_quickly", read.append)
    text = f'{{"executeAt":{AT},"callbackUrl":{URL},"payload":"{"x" * 1024}"}}'.encode()
    assert plain_timer(text, WHERE) is None
    assert not read


def test_long_texts_of_times_are_not_kept() -> None:
    size, count = 100_000, 20
    tracemalloc.start()
    try:
        for number in range(count):
            at = f"2030-01-01T00:00:00.{'0' * (size - number)}Z"
            assert plain_timer(f'{{"executeAt":"{at}","callbackUrl":{URL}}}'.encode(), WHERE) is not None
            del at
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < size * count / 2


def test_what_is_not_utf_8_is_for_the_long_way() -> None:
    for bad in (b"\xff", b"\xc0\xaf", b"\xed\xa0\x80"):
        assert (
            plain_timer(b'{"executeAt":%b,"callbackUrl":%b,"payload":"%b"}' % (AT.encode(), URL.encode(), bad), WHERE)
            is None
        )


ITEMS = st.lists(st.sampled_from(["{}", "5", '{"a" : [ 1 ]}', '"x y"', "tru"]), max_size=3)


@given(
    ITEMS,
    GAPS,
    st.sampled_from(["%s", '{"timers":%s}', '{"timers":[1],"timers":%s}', '{"timers":%s,"x":1}', '{"timers":%s} 1']),
)
def test_a_batch_is_taken_apart_where_it_is_one(items: list[str], gap: str, around: str) -> None:
    text = (gap + around % (gap + "[" + gap + f"{gap},{gap}".join(items) + gap + "]" + gap) + gap).encode()
    try:
        whole = json.loads(text)
    except ValueError:
        whole = None
    found = plain_items(text)
    if around == '{"timers":%s}' and whole is not None and items:
        assert found is not None
        assert [json.loads(bytes(item)) for item in found] == whole["timers"]
    else:
        assert found is None


def test_a_batch_has_one_to_a_thousand_items_to_be_taken_apart() -> None:
    assert [
        plain_items(b'{"timers":[%b]}' % b",".join([b"1"] * count)) is not None for count in (0, 1, 1000, 1001)
    ] == [False, True, True, False]
