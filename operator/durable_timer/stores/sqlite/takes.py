"""Takes: the oldest due timers of the claimed shards, by the due index alone, marked by one UPDATE."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import timedelta
from operator import attrgetter
from typing import Any, Final

import orjson

from durable_timer.models.timer import TakenTimer
from durable_timer.stores.base import NEXT_DUE_WITHIN, TakeGroup, Taken
from durable_timer.stores.sql.documents import to_micros
from durable_timer.stores.sql.rows import TAKEN_COLUMNS
from durable_timer.stores.sqlite.statements import CODEC, json
from durable_timer.stores.sqlite.transaction import Transaction

_SHARD_LEAST: Final = 8
"""A take may bring at least so many of each shard, however many it names."""

_LONG: Final = 4096
"""A payload of more bytes than this is read by itself."""

_HEX: Final = f"CASE WHEN length(payload) <= {_LONG} THEN hex(payload) END"

_CLAIMED: Final = """
    FROM json_each(:shards) AS asked
    CROSS JOIN timer_shards AS claimed
        ON claimed.group_id = :group AND claimed.shard = json_extract(asked.value, '$[0]')
    WHERE claimed.epoch = json_extract(asked.value, '$[1]') AND claimed.owner = :me
"""
"""The shards asked for whose claim stands; the order and the places are those of the request (`asked.key`)."""

DUE: Final = f"""
    SELECT json_group_array(json((
        SELECT json_group_array(json_array(due_at, id)) FROM (
            SELECT due_at, rowid AS id FROM timers
            WHERE group_id = :group AND shard = claimed.shard AND state = 0 AND suspended <> 1 AND due_at <= :until
            ORDER BY due_at, timer_id LIMIT :limit
        )
    ))) {_CLAIMED}
"""
"""What is due, as a JSON list of lists, one for each claimed shard: pairs of due_at and rowid."""

NEXT_DUE: Final = f"""
    SELECT json_group_array(json_array(asked.key, (
        SELECT due_at FROM timers
        WHERE group_id = :group AND shard = claimed.shard AND state = 0 AND suspended <> 1 AND due_at <= :near
        ORDER BY due_at, timer_id LIMIT 1
    ))) {_CLAIMED}
"""
"""By claimed shard, when the earliest timer left is due that is near, as one JSON list."""

READ: Final = f"""
    SELECT json_group_array(json_array({", ".join(_HEX if name == "payload" else name for name in TAKEN_COLUMNS)},
        first_attempt_at, taken_at, starting_deadline, CASE WHEN length(payload) > {_LONG} THEN rowid END))
    FROM timers WHERE rowid IN (SELECT value FROM json_each(?))
"""
"""The rows as one JSON list, with payloads in hexadecimal, save long ones."""

_READ_LONG: Final = "SELECT rowid, payload FROM timers WHERE rowid IN (SELECT value FROM json_each(?))"

MARK: Final = """
    UPDATE timers SET state = 1, run = :run, taken_at = coalesce(taken_at, :now), version = version + 1,
        updated_at = :now,
        taken_epoch = (SELECT epoch FROM timer_shards
                       WHERE timer_shards.group_id = timers.group_id AND timer_shards.shard = timers.shard)
    WHERE rowid IN (SELECT value FROM json_each(:rows))
"""
"""Marks rows as running; the claims were looked at in the same transaction."""

_RUN: Final = TAKEN_COLUMNS.index("run")
_PAYLOAD: Final = TAKEN_COLUMNS.index("payload")
_DUE_AT: Final = TAKEN_COLUMNS.index("due_at")
_EXECUTE_AT: Final = TAKEN_COLUMNS.index("execute_at")


def take_due(transaction: Transaction, groups: Sequence[TakeGroup], me: str, ahead: timedelta, run: int) -> Taken:
    """See `stores.base.Store.take_due`. `floor` saves nothing here: no index entry outlives its row."""
    timers: list[TakenTimer] = []
    next_due: list[list[float | None]] = []
    until = transaction.micros + to_micros(ahead)
    for group in groups:
        asked = json([(shard.shard, shard.epoch) for shard in group.shards])
        scope = {"group": group.group_id, "shards": asked, "me": me}
        rows = _oldest(transaction, group, scope, until)
        if rows:
            timers += _mark(transaction, rows, run)
        next_due.append(_next_due(transaction, scope, until, len(group.shards)))
    return Taken(timers, next_due, transaction.now)


def _oldest(transaction: Transaction, group: TakeGroup, scope: dict[str, Any], until: int) -> list[int]:
    """The rowids of the group's oldest due timers; a shard with a backlog leaves room to others."""
    a_shard = min(group.limit, max(_SHARD_LEAST, 2 * group.limit // max(1, len(group.shards))))
    scope = scope | {"until": until, "limit": a_shard}
    found = [due for shard in _one(transaction.connection, DUE, scope) for due in shard]
    found.sort()
    return [rowid for _, rowid in found[: group.limit]]


def _mark(transaction: Transaction, rows: Sequence[int], run: int) -> list[TakenTimer]:
    names = json(rows)
    read = _one(transaction.connection, READ, (names,))
    payloads = _long_payloads(transaction.connection, [row[-1] for row in read if row[-1] is not None])
    transaction.connection.execute(MARK, {"run": run, "now": transaction.micros, "rows": names})
    taken = [_taken(row, payloads, run, transaction.micros) for row in read]
    taken.sort(key=attrgetter("due_at"))
    return taken


def _long_payloads(connection: sqlite3.Connection, rows: Sequence[int]) -> dict[int, bytes]:
    return dict(connection.execute(_READ_LONG, (json(rows),)).fetchall()) if rows else {}


def _taken(row: Sequence[Any], payloads: dict[int, bytes], run: int, now: int) -> TakenTimer:
    *columns, first_attempt_at, taken_at, deadline, long = row
    columns[_RUN] = run
    if long is not None:
        columns[_PAYLOAD] = payloads[long]
    elif columns[_PAYLOAD] is not None:
        columns[_PAYLOAD] = bytes.fromhex(columns[_PAYLOAD])
    remaining = (columns[_DUE_AT] - now) / 1e6
    age = None if first_attempt_at is None else (now - first_attempt_at) / 1e6
    late = taken_at is None and deadline is not None and now > columns[_EXECUTE_AT] + deadline
    return CODEC.taken((*columns, remaining, age, late))


def _next_due(transaction: Transaction, scope: dict[str, Any], until: int, shards: int) -> list[float | None]:
    next_due: list[float | None] = [None] * shards
    scope = scope | {"near": until + to_micros(NEXT_DUE_WITHIN)}
    for place, due_at in _one(transaction.connection, NEXT_DUE, scope):
        if due_at is not None:
            next_due[place] = (due_at - transaction.micros) / 1e6
    return next_due


def _one(connection: sqlite3.Connection, statement: str, parameters: Sequence[Any] | dict[str, Any]) -> list[list[Any]]:
    """The JSON list that a statement answers in its one row.

    Each row that is fetched hands the interpreter's lock over, and getting it back from a busy event loop may take
    milliseconds: hence one row.
    """
    listed: list[list[Any]] = orjson.loads(connection.execute(statement, parameters).fetchone()[0])
    return listed
