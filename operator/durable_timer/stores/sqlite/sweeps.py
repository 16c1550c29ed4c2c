"""Recovery of running rows whose owner is gone, and how long those that run may still take."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from durable_timer.models.ownership import Claim
from durable_timer.stores.base import Swept
from durable_timer.stores.sql.documents import drains_from_json, to_micros
from durable_timer.stores.sqlite.statements import delete_rows, json
from durable_timer.stores.sqlite.transaction import Transaction

_OVERDUE: Final = """
    SELECT row.rowid, row.group_id, row.shard, row.run, row.taken_epoch, row.cancel_requested, claimed.epoch,
        claimed.drains
    FROM json_each(:claims) AS asked
    CROSS JOIN timer_shards AS claimed
        ON claimed.group_id = json_extract(asked.value, '$[0]') AND claimed.shard = json_extract(asked.value, '$[1]')
    CROSS JOIN timers AS row INDEXED BY timers_running
        ON row.state = 1 AND row.group_id = claimed.group_id AND row.shard = claimed.shard
    WHERE claimed.epoch = json_extract(asked.value, '$[2]') AND claimed.owner = :me
        AND (row.taken_epoch < claimed.epoch OR (row.taken_epoch = claimed.epoch AND row.updated_at < :before))
"""
_LONGEST: Final = """
    SELECT row.group_id, row.shard, max(row.callback_timeout)
    FROM json_each(?) AS asked
    CROSS JOIN timers AS row INDEXED BY timers_running
        ON row.state = 1 AND row.group_id = json_extract(asked.value, '$[0]')
        AND row.shard = json_extract(asked.value, '$[1]')
    WHERE row.taken_epoch = json_extract(asked.value, '$[2]') AND row.callback_timeout IS NOT NULL
    GROUP BY row.group_id, row.shard
"""
_RECOVER: Final = """
    UPDATE timers SET state = 0, run = NULL, taken_epoch = NULL, version = version + 1, updated_at = ?
    WHERE rowid IN (SELECT value FROM json_each(?))
"""


class _Lost(NamedTuple):
    rowid: int
    group_id: str
    shard: int
    cancelled: bool


def lost(
    connection: sqlite3.Connection,
    now: int,
    claims: Sequence[Claim],
    me: str,
    held: Collection[int],
    own_age: timedelta,
    drains_over: datetime | None,
) -> list[_Lost]:
    """The rows that a sweep of these claims would recover."""
    scope = {"claims": json(claims), "me": me, "before": now - to_micros(own_age)}
    found = connection.execute(_OVERDUE, scope).fetchall()
    if not found:
        return []
    living = {row[0] for row in connection.execute("SELECT incarnation FROM timer_members WHERE dead = 0")}
    return [
        _Lost(rowid, group_id, shard, bool(cancelled))
        for rowid, group_id, shard, run, taken_epoch, cancelled, epoch, drains in found
        if run not in held and (taken_epoch == epoch or taken_epoch not in _draining(drains, living, drains_over))
    ]


def _draining(drains: str, living: Collection[str], over: datetime | None) -> set[int]:
    """The epochs whose rows their owner may still settle."""
    return {
        drain.epoch
        for drain in drains_from_json(drains)
        if drain.incarnation in living and (over is None or drain.until >= over)
    }


def sweep(
    transaction: Transaction,
    claims: Sequence[Claim],
    me: str,
    held: Collection[int],
    own_age: timedelta,
    limit: int,
    drains_over: datetime | None,
) -> Swept:
    """See `stores.base.Store.sweep`."""
    rows = lost(transaction.connection, transaction.micros, claims, me, held, own_age, drains_over)[:limit]
    cancelled = [row.rowid for row in rows if row.cancelled]
    if cancelled:
        delete_rows(transaction.connection, cancelled)
    recovered: dict[tuple[str, int], int] = {}
    for row in rows:
        if not row.cancelled:
            key = (row.group_id, row.shard)
            recovered[key] = recovered.get(key, 0) + 1
    pending = [row.rowid for row in rows if not row.cancelled]
    if pending:
        transaction.connection.execute(_RECOVER, (transaction.micros, json(pending)))
    return Swept(recovered, len(cancelled), len(rows))
