"""Settles: one look at all rows of a call, then one statement for each kind of outcome."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from durable_timer.models.outcome import Outcome, OutcomeKind
from durable_timer.stores.sql.documents import instant_to_micros, to_micros
from durable_timer.stores.sqlite.statements import delete_rows, json
from durable_timer.stores.sqlite.transaction import Transaction

MATCHING: Final = """
    SELECT json_group_array(json_array(asked.key, row.rowid, row.cancel_requested, row.managed_by IS NULL))
    FROM json_each(?) AS asked
    CROSS JOIN timers AS row
        ON row.group_id = json_extract(asked.value, '$[0]') AND row.timer_id = json_extract(asked.value, '$[1]')
    WHERE row.state = 1 AND row.run = json_extract(asked.value, '$[2]')
"""
"""The places of the outcomes that apply, each with its row."""

_FREED: Final = "run = NULL, taken_epoch = NULL, version = version + 1, updated_at = :now"
_AFTER_RUN: Final = "suspended = CASE WHEN suspended = 2 THEN 1 ELSE suspended END"


def _from(sets: str, *fields: str) -> str:
    """An UPDATE of rows by rowid from a JSON list of lists: rowid, then `fields`."""
    columns = ", ".join(f"json_extract(value, '$[{place}]') AS {name}" for place, name in enumerate(("id", *fields)))
    return (
        f"UPDATE timers SET {sets}, {_FREED} FROM (SELECT {columns} FROM json_each(:rows)) AS o "
        "WHERE timers.rowid = o.id"
    )


ENDED: Final = _from(
    f"state = o.code, attempt = o.tries, first_attempt_at = coalesce(first_attempt_at, :now - o.began), {_AFTER_RUN}, "
    "last_error = o.error, last_status = o.status, last_run_at = :now, last_outcome = o.outcome, executed_at = :now",
    "code", "tries", "began", "error", "status", "outcome",
)  # fmt: skip
RETRIED: Final = _from(
    "state = 0, due_at = :now + o.delay, attempt = o.tries, "
    "first_attempt_at = coalesce(first_attempt_at, :now - o.began), last_error = o.error, last_status = o.status",
    "delay", "tries", "began", "error", "status",
)  # fmt: skip
DEFERRED: Final = _from(
    "state = 0, due_at = CASE WHEN o.delay > 0 THEN :now + o.delay ELSE due_at END, "
    "last_error = coalesce(o.error, last_error)",
    "delay", "error",
)  # fmt: skip
NEXT: Final = _from(
    "state = 0, execute_at = o.moment, due_at = max(o.moment, :now), occurrence = occurrence + 1, attempt = 0, "
    f"first_attempt_at = NULL, taken_at = NULL, executed_at = NULL, {_AFTER_RUN}, "
    "last_error = o.error, last_status = o.status, last_run_at = :now, last_outcome = o.outcome",
    "moment", "error", "status", "outcome",
)  # fmt: skip

_STATEMENTS: Final = {
    OutcomeKind.COMPLETED: ENDED,
    OutcomeKind.FAILED: ENDED,
    OutcomeKind.RETRY: RETRIED,
    OutcomeKind.DEFERRED: DEFERRED,
    OutcomeKind.NEXT: NEXT,
}


def settle(transaction: Transaction, requests: Sequence[Sequence[Outcome]]) -> list[list[bool]]:
    """Several settles as one. Of outcomes for the same run, the first is applied."""
    outcomes = [outcome for request in requests for outcome in request]
    applied = [False] * len(outcomes)
    seen: set[int] = set()
    gone: list[int] = []
    rows: dict[str, list[list[Any]]] = {}
    for place, rowid, cancelled, unmanaged in _matching(transaction, outcomes):
        if rowid in seen:
            continue
        seen.add(rowid)
        applied[place] = True
        outcome = outcomes[place]
        if cancelled or (outcome.forget and unmanaged and _ends(outcome)):
            gone.append(rowid)
        else:
            rows.setdefault(_STATEMENTS[outcome.kind], []).append([rowid, *_fields(outcome)])
    if gone:
        delete_rows(transaction.connection, gone)
    for statement, values in rows.items():
        transaction.connection.execute(statement, {"rows": json(values), "now": transaction.micros})
    return _by_request(requests, applied)


def _matching(transaction: Transaction, outcomes: Sequence[Outcome]) -> list[tuple[int, int, int, int]]:
    asked = json([(outcome.group_id, outcome.timer_id, outcome.run) for outcome in outcomes])
    found: list[tuple[int, int, int, int]] = orjson.loads(
        transaction.connection.execute(MATCHING, (asked,)).fetchone()[0]
    )
    return found


def _ends(outcome: Outcome) -> bool:
    return outcome.kind in {OutcomeKind.COMPLETED, OutcomeKind.FAILED}


def _fields(outcome: Outcome) -> tuple[object, ...]:
    error, status = outcome.last_error, outcome.last_status
    last_outcome = None if outcome.last_outcome is None else outcome.last_outcome.value
    match outcome.kind:
        case OutcomeKind.COMPLETED:
            return 2, outcome.attempt, to_micros(outcome.began), error, status, last_outcome or "completed"
        case OutcomeKind.FAILED:
            return 3, outcome.attempt, to_micros(outcome.began), error, status, last_outcome or "failed"
        case OutcomeKind.RETRY:
            return to_micros(outcome.delay), outcome.attempt, to_micros(outcome.began), error, status
        case OutcomeKind.DEFERRED:
            return to_micros(outcome.delay), error
        case OutcomeKind.NEXT:
            if outcome.at is None:
                raise ValueError("an outcome NEXT needs its instant")
            return instant_to_micros(outcome.at), error, status, last_outcome


def _by_request(requests: Sequence[Sequence[Outcome]], applied: Sequence[bool]) -> list[list[bool]]:
    answers, begin = [], 0
    for request in requests:
        answers.append(list(applied[begin : begin + len(request)]))
        begin += len(request)
    return answers
