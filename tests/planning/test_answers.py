from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_timer.planning.answers import (
    Again,
    Answer,
    BodyEnd,
    Done,
    Failed,
    NoAnswer,
    Retry,
    SendError,
    Verdict,
    classify,
    clip,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SOON = NOW + timedelta(seconds=1)

DONE_ANSWERS = [
    Answer(200),
    Answer(204),
    Answer(299, b"thanks"),
    Answer(200, b'{"ok": true}'),
    Answer(200, b"{}"),
    Answer(200, b'{"ok": "false"}'),
    Answer(200, b'{"ok": 0}'),
    Answer(200, b'{"ok": null}'),
    Answer(200, b'[{"ok": false}]'),
    Answer(200, b'"{}"'),
    Answer(200, b'{"ok": false'),
    Answer(200, b'{"ok": false} and more'),
    Answer(200, b"\xff\xfe"),
    Answer(200, b'{"ok": false, "x": "\xff"}'),
    Answer(200, b'{"ok": false, "x": "', BodyEnd.OVER_LONG),
    Answer(200, b'{"ok": false}', BodyEnd.OVER_LONG),
    Answer(200, b'{"ok": true, "nextExecuteAt": "2026-01-02T00:00:00Z"}'),
    Answer(200, b"[" * 5000),
]


@pytest.mark.parametrize("answer", DONE_ANSWERS, ids=repr)
def test_a_success_is_done(answer: Answer) -> None:
    assert classify(answer, NOW) == Done()


@pytest.mark.parametrize(
    ("asked", "at"),
    [
        ("2026-01-02T00:00:00Z", datetime(2026, 1, 2, tzinfo=UTC)),
        ("2026-01-02T01:00:00.5+01:00", datetime(2026, 1, 2, microsecond=500_000, tzinfo=UTC)),
        ("2026-01-01T12:00:01Z", SOON),
        ("2026-01-01T12:00:01.000001Z", SOON + timedelta(microseconds=1)),
        ("2026-01-01T12:00:00.999999Z", SOON),
        ("1999-01-01T00:00:00Z", SOON),
        ("2125-12-07T12:00:00Z", datetime(2125, 12, 7, 12, tzinfo=UTC)),
    ],
)
def test_a_success_may_ask_for_a_new_occurrence(asked: str, at: datetime) -> None:
    body = f' \r\n\t{{"ok": false, "nextExecuteAt": "{asked}"}}'.encode()
    assert classify(Answer(202, body), NOW) == Again(at)


@pytest.mark.parametrize(
    "asked", ["null", '"soon"', '"2026-01-02T00:00:00"', "5", "{}", '""', '"2126-12-07T12:00:00.1Z"']
)
def test_not_ok_without_a_readable_time_is_tried_again(asked: str) -> None:
    verdict = classify(Answer(200, f'{{"ok": false, "nextExecuteAt": {asked}}}'.encode(), retry_after="7"), NOW)
    assert isinstance(verdict, Retry)
    assert verdict.error.startswith("HTTP 200: ok: false")
    assert verdict.retry_after == timedelta(seconds=7)


OUTCOMES: list[tuple[Answer | NoAnswer, Verdict]] = [
    (Answer(200, b'{"ok": false}'), Retry("HTTP 200: ok: false")),
    (Answer(200, b"thank", BodyEnd.BROKEN_OFF), Retry("HTTP 200: the answer broke off")),
    (Answer(408), Retry("HTTP 408")),
    (Answer(425), Retry("HTTP 425")),
    (Answer(429, retry_after="30"), Retry("HTTP 429", timedelta(seconds=30))),
    (Answer(500, b"oops\n"), Retry("HTTP 500: oops")),
    (Answer(503, retry_after="Thu, 01 Jan 2026 12:01:00 GMT"), Retry("HTTP 503", timedelta(minutes=1))),
    (Answer(503, retry_after="whenever"), Retry("HTTP 503")),
    (Answer(503, b'{"ok": tr', BodyEnd.BROKEN_OFF), Retry('HTTP 503: {"ok": tr')),
    (Answer(599), Retry("HTTP 599")),
    (Answer(101), Retry("HTTP 101")),
    (Answer(999), Retry("HTTP 999")),
    (NoAnswer(SendError.TIMEOUT, "after 10s"), Retry("TIMEOUT: after 10s")),
    (NoAnswer(SendError.NO_CONNECTION), Retry("NO_CONNECTION")),
    (NoAnswer(SendError.TARGET_DENIED, "127.0.0.1"), Failed("TARGET_DENIED: 127.0.0.1")),
    (NoAnswer(SendError.INVALID_REQUEST), Failed("INVALID_REQUEST")),
    (Answer(410), Failed("HTTP 410", ends_schedule=True)),
    (Answer(400, b'{"ok": false, "nextExecuteAt": "2026-01-02T00:00:00Z"}'),
     Failed('HTTP 400: {"ok": false, "nextExecuteAt": "2026-01-02T00:00:00Z"}')),
    (Answer(401), Failed("HTTP 401")),
    (Answer(404, b"not\x00here"), Failed("HTTP 404: not here")),
    (Answer(409), Failed("HTTP 409")),
    (Answer(499, b"x", BodyEnd.BROKEN_OFF), Failed("HTTP 499: x")),
    (Answer(300), Failed("HTTP 300")),
    (Answer(301), Failed("HTTP 301")),
    (Answer(307, retry_after="5"), Failed("HTTP 307")),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "verdict"), OUTCOMES, ids=repr)
def test_every_other_answer_has_its_outcome(answer: Answer | NoAnswer, verdict: Verdict) -> None:
    assert classify(answer, NOW) == verdict


@given(
    st.builds(Answer, st.integers(100, 999), st.binary(max_size=4000), st.sampled_from(BodyEnd), st.none() | st.text())
    | st.builds(NoAnswer, st.sampled_from(SendError), st.text(max_size=4000))
)
def test_any_answer_has_an_outcome_whose_error_a_store_can_keep(answer: Answer | NoAnswer) -> None:
    verdict = classify(answer, NOW)
    if isinstance(verdict, Retry | Failed):
        assert 0 < len(verdict.error.encode()) <= 1024
        assert "\0" not in verdict.error


@pytest.mark.parametrize(
    ("text", "clipped"), [("x" * 1025, "x" * 1024), ("é" * 1000, "é" * 512), ("a\0\nb\ud800", "a  b?")]
)
def test_an_error_text_is_clipped_to_a_kibibyte_of_printable_text(text: str, clipped: str) -> None:
    assert clip(text).replace("�", "?") in {clipped, clipped.replace("?", " ")}
