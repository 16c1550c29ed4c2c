"""Reading a create: the short way and the long way are one."""

from datetime import UTC, datetime

from hypothesis import example, given
from hypothesis import strategies as st

from durable_timer.models.group import PayloadSpec
from durable_timer_api.json_limits import JsonError
from durable_timer_api.json_text import cursor_of
from durable_timer_api.payloads import PayloadRules
from durable_timer_api.reading import Surroundings, new_timer

WHERE = Surroundings("demo", 16, PayloadRules(PayloadSpec(max_bytes=1024)), datetime(2026, 1, 1, tzinfo=UTC))

TEXTS = {
    "id": ['"a"', '"k8s:a"', '""', "5", "null", '"a/b"', '"' + "x" * 255 + '"'],
    "executeAt": [
        '"2030-01-01T00:00:00Z"', '"2030-01-01T02:00:00.0000001+02:00"', '"2190-01-01T00:00:00Z"', "null", "1",
        '"tomorrow"', '"0001-01-01T00:00:00Z"', '"1969-07-20T20:17:40Z"',
    ],
    "callbackUrl": ['"http://host/x"', '"ftp://host/x"', "null", "[]", '"http://0x1/"'],
    "payload": ["null", ' {"a": [1, 2.0]} ', '"x"', '"' + "x" * 2000 + '"'],
}  # fmt: skip


@given(st.fixed_dictionaries({}, optional={name: st.sampled_from(texts) for name, texts in TEXTS.items()}))
@example({"id": '"a"', "executeAt": TEXTS["executeAt"][0], "callbackUrl": TEXTS["callbackUrl"][0], "payload": "null"})
def test_the_short_way_reads_what_the_long_way_does(texts: dict[str, str]) -> None:
    def read(members: dict[str, str]) -> object:
        body = "{" + ",".join(f'"{name}":{text}' for name, text in members.items()) + "}"
        try:
            return new_timer(cursor_of(body.encode()).object(("payload",)), WHERE)
        except JsonError as error:
            raise AssertionError(body) from error

    texts = {"id": '"a"', **texts}
    if texts["id"] == "null":
        return
    assert read(texts) == read({**texts, "delay": "null"})
