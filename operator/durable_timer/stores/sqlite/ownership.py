"""Members, claims and the plan."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from durable_timer.models.ownership import Assignment, BeatAnswer, Claim, Drain, Member, MemberReport, Shard
from durable_timer.stores.base import DRAIN_KEPT
from durable_timer.stores.sql.documents import drains_from_json, drains_to_json, report_to_json
from durable_timer.stores.sql.rows import MEMBER_COLUMNS, SHARD_COLUMNS, member, shard
from durable_timer.stores.sqlite.groups import note_shard_writes
from durable_timer.stores.sqlite.statements import json, value
from durable_timer.stores.sqlite.transaction import Transaction

_DEAD_ROWS_KEPT: Final = timedelta(minutes=10)

_MEMBERS: Final = f"SELECT {', '.join(MEMBER_COLUMNS)} FROM timer_members WHERE pool = ? ORDER BY incarnation"
_JOIN: Final = """
    INSERT INTO timer_members (incarnation, name, pool, host, beat, draining, dead, report)
    VALUES (?, ?, ?, ?, 0, ?, 0, ?) ON CONFLICT DO NOTHING
"""
_KILL_EARLIER: Final = "UPDATE timer_members SET dead = 1, dead_since = ? WHERE dead = 0 AND incarnation <> ?"
_BEAT: Final = """
    UPDATE timer_members SET beat = max(beat, :counter), draining = max(draining, :draining),
        report = CASE WHEN :counter < beat THEN report ELSE coalesce(:report, report) END
    WHERE incarnation = :incarnation AND dead = 0 RETURNING pool
"""
_DECLARE_DEAD: Final = (
    "UPDATE timer_members SET dead = 1, dead_since = ? WHERE incarnation = ? AND beat = ? AND dead = 0"
)
_SHARDS: Final = f"""
    SELECT {", ".join(f"s.{column}" for column in SHARD_COLUMNS)}
    FROM timer_groups AS g JOIN timer_shards AS s ON s.group_id = g.group_id
    WHERE g.pool = ? AND (s.owner IS NOT NULL OR (g.state = 0 AND s.shard < g.shards))
    ORDER BY s.group_id, s.shard
"""
_LIVING: Final = "SELECT 1 FROM timer_members WHERE incarnation = ? AND dead = 0"
_FREE: Final = """
    SELECT s.drains, g.pool FROM timer_shards AS s JOIN timer_groups AS g ON g.group_id = s.group_id
    WHERE s.group_id = :group AND s.shard = :shard AND s.epoch = :epoch AND (
        s.owner IS NULL OR s.owner = :me
        OR NOT EXISTS (SELECT 1 FROM timer_members WHERE incarnation = s.owner AND dead = 0))
"""
_CLAIM: Final = "UPDATE timer_shards SET epoch = epoch + 1, owner = ?, drains = ? WHERE group_id = ? AND shard = ?"
_OWNED: Final = """
    SELECT s.drains, g.pool FROM timer_shards AS s JOIN timer_groups AS g ON g.group_id = s.group_id
    WHERE s.group_id = ? AND s.shard = ? AND s.epoch = ? AND s.owner = ?
"""
_RELEASE: Final = "UPDATE timer_shards SET owner = NULL, drains = ? WHERE group_id = ? AND shard = ?"
_RAISE_TERM: Final = """
    INSERT INTO timer_pools (pool, term, holder, shards_token) VALUES (?, 1, ?, 1)
    ON CONFLICT (pool) DO UPDATE
    SET term = term + 1, holder = excluded.holder, shards_token = shards_token + 1 RETURNING term
"""
_STAMP: Final = (
    "UPDATE timer_shards SET plan_term = ? WHERE group_id IN (SELECT group_id FROM timer_groups WHERE pool = ?)"
)
_ASSIGN: Final = """
    UPDATE timer_shards SET assigned_to = json_extract(asked.value, '$[2]'), plan_term = :term
    FROM json_each(:rows) AS asked
    WHERE timer_shards.group_id = json_extract(asked.value, '$[0]')
        AND timer_shards.shard = json_extract(asked.value, '$[1]')
        AND timer_shards.plan_term <= :term AND assigned_to IS NOT json_extract(asked.value, '$[2]')
        AND EXISTS (SELECT 1 FROM timer_groups AS g WHERE g.group_id = timer_shards.group_id AND g.pool = :pool)
"""


def join(transaction: Transaction, new: Member) -> None:
    """Adds a member; all earlier ones are dead, for one process owns the file. A repeated join changes nothing."""
    added = transaction.connection.execute(
        _JOIN, (new.incarnation, new.name, new.pool, new.host, new.draining, report_to_json(new.report))
    )
    if added.rowcount:
        transaction.connection.execute(_KILL_EARLIER, (transaction.micros, new.incarnation))


def beat(
    transaction: Transaction, incarnation: str, counter: int, *, draining: bool, report: MemberReport | None
) -> BeatAnswer | None:
    """See `stores.base.Store.beat`."""
    written = {
        "incarnation": incarnation,
        "counter": counter,
        "draining": draining,
        "report": None if report is None else report_to_json(report),
    }
    pool = value(transaction.connection, _BEAT, written)
    if pool is None:
        return None
    return BeatAnswer(_token(transaction.connection, pool), tuple(members(transaction.connection, pool)))


def declare_dead(transaction: Transaction, incarnation: str, counter_seen: int) -> bool:
    """See `stores.base.Store.declare_dead`."""
    transaction.connection.execute(_DECLARE_DEAD, (transaction.micros, incarnation, counter_seen))
    return not _living(transaction.connection, incarnation)


def leave(transaction: Transaction, incarnation: str) -> None:
    """See `stores.base.Store.leave`."""
    forgotten = transaction.micros - _DEAD_ROWS_KEPT // timedelta(microseconds=1)
    transaction.connection.execute(
        "DELETE FROM timer_members WHERE incarnation = ? OR (dead = 1 AND dead_since < ?)", (incarnation, forgotten)
    )


def members(connection: sqlite3.Connection, pool: str) -> list[Member]:
    """The members of a pool, dead ones included."""
    return [member(row) for row in connection.execute(_MEMBERS, (pool,)).fetchall()]


def shards(connection: sqlite3.Connection, pool: str) -> tuple[list[Shard], str]:
    """See `stores.base.Store.shards`."""
    return [shard(row) for row in connection.execute(_SHARDS, (pool,)).fetchall()], _token(connection, pool)


def claim(transaction: Transaction, claims: Sequence[Claim], me: str) -> list[int | None]:
    """See `stores.base.Store.claim`."""
    if not _living(transaction.connection, me):
        return [None] * len(claims)
    pools: set[str] = set()
    epochs = [_claim(transaction, item, me, pools) for item in claims]
    note_shard_writes(transaction.connection, pools)
    return epochs


def _claim(transaction: Transaction, item: Claim, me: str, pools: set[str]) -> int | None:
    scope = {"group": item.group_id, "shard": item.shard, "epoch": item.epoch, "me": me}
    row = transaction.connection.execute(_FREE, scope).fetchone()
    if row is None:
        return None
    drains = drains_to_json(
        [drain for drain in drains_from_json(row[0]) if drain.until >= transaction.now - DRAIN_KEPT]
    )
    transaction.connection.execute(_CLAIM, (me, drains, item.group_id, item.shard))
    pools.add(row[1])
    return item.epoch + 1


def release(transaction: Transaction, claims: Sequence[Claim], me: str, until: timedelta) -> list[bool]:
    """See `stores.base.Store.release`."""
    pools: set[str] = set()
    released = [_release(transaction, item, me, until, pools) for item in claims]
    note_shard_writes(transaction.connection, pools)
    return released


def _release(transaction: Transaction, item: Claim, me: str, until: timedelta, pools: set[str]) -> bool:
    row = transaction.connection.execute(_OWNED, (*item, me)).fetchone()
    if row is None:
        return False
    drains = (*drains_from_json(row[0]), Drain(item.epoch, me, transaction.now + until))
    transaction.connection.execute(_RELEASE, (drains_to_json(drains), item.group_id, item.shard))
    transaction.wake(item.group_id, (item.shard,))
    pools.add(row[1])
    return True


def raise_term(transaction: Transaction, pool: str, holder: str) -> int:
    """See `stores.base.Store.raise_term`."""
    term: int = value(transaction.connection, _RAISE_TERM, (pool, holder))
    transaction.connection.execute(_STAMP, (term, pool))
    return term


def assign(transaction: Transaction, pool: str, term: int, assignments: Sequence[Assignment]) -> int:
    """See `stores.base.Store.assign`."""
    scope = {"rows": json(assignments), "term": term, "pool": pool}
    changed = transaction.connection.execute(_ASSIGN, scope).rowcount
    if changed:
        note_shard_writes(transaction.connection, [pool])
    return changed


def _living(connection: sqlite3.Connection, incarnation: str) -> bool:
    return value(connection, _LIVING, (incarnation,)) is not None


def _token(connection: sqlite3.Connection, pool: str) -> str:
    return str(value(connection, "SELECT shards_token FROM timer_pools WHERE pool = ?", (pool,)) or 0)
