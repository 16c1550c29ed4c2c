"""How many timers a group has: exact up to a bound, an estimate beyond it, at a cost that does not grow with them.

Ids spread evenly over shards, so that a few of them stand for all. What is beyond the last bound is left out: an estimate
of millions is low.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from durable_timer.models.page import Counts
from durable_timer.stores.sql.documents import instant_from_micros, instant_to_micros
from durable_timer.stores.sqlite.statements import FIRST, LAST, QUEUED_SHARDS, value

EXACT: Final = 10_000
"""Rows of a state that are counted one by one."""

_SAMPLED: Final = 4
"""Shards that are counted for an estimate of all."""

_MOST: Final = 100_000
"""Rows of each of them, and of a finished state, that are counted at most: some milliseconds' work."""

_QUEUED: Final = "group_id = ? AND shard = ? AND state = 0 AND suspended <> 1 AND due_at <= ?"


class _Count(NamedTuple):
    rows: int
    estimated: bool = False


def counts(connection: sqlite3.Connection, group_id: str, now: datetime) -> Counts:
    """See `stores.base.Store.counts`."""
    micros = instant_to_micros(now)
    shards = [row[0] for row in connection.execute(QUEUED_SHARDS, (group_id,)).fetchall()]
    queued = _queued(connection, group_id, shards, LAST)
    suspended = _upto(connection, "group_id = ? AND state = 0 AND suspended = 1", (group_id,), EXACT)
    pending = queued.rows + suspended
    running = _upto(connection, "group_id = ? AND state = 1", (group_id,), EXACT)
    found = {
        "pending": _Count(pending, queued.estimated or pending > EXACT),
        "running": _Count(running, running > EXACT),
        "completed": _finished(connection, group_id, 2),
        "failed": _finished(connection, group_id, 3),
        "due": _queued(connection, group_id, shards, micros),
    }
    return Counts(
        pending=pending,
        running=running,
        completed=found["completed"].rows,
        failed=found["failed"].rows,
        due=found["due"].rows,
        oldest_due_at=_oldest(connection, group_id, shards, micros),
        estimated=frozenset(name for name, count in found.items() if count.estimated),
    )


def _upto(connection: sqlite3.Connection, where: str, parameters: tuple[object, ...], most: int) -> int:
    """How many rows, `most` + 1 for more."""
    found: int = value(
        connection, f"SELECT count(*) FROM (SELECT 1 FROM timers WHERE {where} LIMIT ?)", (*parameters, most + 1)
    )
    return found


def _queued(connection: sqlite3.Connection, group_id: str, shards: Sequence[int], until: int) -> _Count:
    """What is in the queue until then; beyond EXACT by some of the shards."""
    rows = 0
    for shard in shards:
        rows += _upto(connection, _QUEUED, (group_id, shard, until), EXACT - rows)
        if rows > EXACT:
            break
    else:
        return _Count(rows)
    sampled = shards[:: max(1, len(shards) // _SAMPLED)][:_SAMPLED]
    sample = sum(_upto(connection, _QUEUED, (group_id, shard, until), _MOST) for shard in sampled)
    return _Count(max(rows, sample * len(shards) // len(sampled)), estimated=True)


def _oldest(connection: sqlite3.Connection, group_id: str, shards: Sequence[int], now: int) -> datetime | None:
    oldest = [
        due_at
        for shard in shards
        for (due_at,) in connection.execute(
            f"SELECT due_at FROM timers WHERE {_QUEUED} ORDER BY due_at LIMIT 1", (group_id, shard, now)
        )
    ]
    return instant_from_micros(min(oldest)) if oldest else None


def _finished(connection: sqlite3.Connection, group_id: str, state: int) -> _Count:
    where = "group_id = ? AND state = ? AND state >= 2 AND executed_at > ? AND executed_at < ?"
    rows = _upto(connection, where, (group_id, state, FIRST, LAST), _MOST)
    return _Count(rows, rows > EXACT)
