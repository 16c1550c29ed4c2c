"""Groups and their shard rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from durable_timer.errors import GroupIdConflict, UnknownGroup
from durable_timer.models.group import Group, GroupRegistration, GroupState, spec_to_json
from durable_timer.planning.registration import moves, registered, resumes
from durable_timer.stores.sql.documents import instant_to_micros
from durable_timer.stores.sql.rows import GROUP_COLUMNS, GROUP_STATE_CODES
from durable_timer.stores.sqlite.statements import CODEC, value
from durable_timer.stores.sqlite.transaction import Transaction

_GROUP: Final = ", ".join(GROUP_COLUMNS)
_WRITE: Final = f"INSERT OR REPLACE INTO timer_groups ({_GROUP}) VALUES ({', '.join('?' * len(GROUP_COLUMNS))})"
_NEXT_CHANGE: Final = "UPDATE timer_counters SET value = value + 1 WHERE name = 'change' RETURNING value"
_ADD_SHARDS: Final = """
    WITH RECURSIVE numbers(shard) AS (SELECT 0 UNION ALL SELECT shard + 1 FROM numbers WHERE shard + 1 < ?1)
    INSERT INTO timer_shards (group_id, shard, epoch, plan_term, drains)
    SELECT ?2, shard, 0, coalesce((SELECT term FROM timer_pools WHERE pool = ?3), 0), '[]' FROM numbers
    WHERE true
    ON CONFLICT (group_id, shard) DO UPDATE SET plan_term = excluded.plan_term, assigned_to = NULL WHERE ?4
"""
_NOTE_SHARD_WRITE: Final = """
    INSERT INTO timer_pools (pool, term, shards_token) VALUES (?, 0, 1)
    ON CONFLICT (pool) DO UPDATE SET shards_token = shards_token + 1
"""


def register(transaction: Transaction, asked: GroupRegistration) -> Group:
    """See `stores.base.Store.register_group`."""
    present = _find(transaction.connection, asked.group_id)
    wanted = registered(present, asked, transaction.now)
    if wanted is present:
        return present
    group = _write(transaction, wanted, present)
    added = (asked.shards, asked.group_id, asked.pool, moves(present, asked))
    transaction.connection.execute(_ADD_SHARDS, added)
    if resumes(present, asked):
        transaction.wake(asked.group_id, ())
    return group


def since(connection: sqlite3.Connection, change: int | None) -> tuple[list[Group], int]:
    """See `stores.base.Store.groups`."""
    found = connection.execute(
        f"SELECT {_GROUP} FROM timer_groups WHERE change > ? ORDER BY change", (-1 if change is None else change,)
    )
    groups = CODEC.groups(found.fetchall())
    return groups, value(connection, "SELECT value FROM timer_counters WHERE name = 'change'")


def set_state(transaction: Transaction, group_id: str, owner: str, state: GroupState) -> Group:
    """See `stores.base.Store.set_group_state`."""
    group = _known(transaction.connection, group_id)
    if group.owner != owner:
        raise GroupIdConflict(group_id, group.owner)
    if group.state is state:
        return group
    written = _write(transaction, replace(group, state=state, state_since=transaction.now), group)
    if state is GroupState.ACTIVE:
        transaction.wake(group_id, ())
    return written


def transfer(transaction: Transaction, group_id: str, to_owner: str, from_owner: str | None) -> Group:
    """See `stores.base.Store.transfer_group`."""
    group = _known(transaction.connection, group_id)
    if group.owner == to_owner:
        return group
    if from_owner is not None and group.owner != from_owner:
        raise GroupIdConflict(group_id, group.owner)
    return _write(transaction, replace(group, owner=to_owner), group)


def finish_purge(transaction: Transaction, group_id: str) -> None:
    """See `stores.base.Store.finish_purge`."""
    group = _find(transaction.connection, group_id)
    if group is not None and group.state is GroupState.PURGING:
        now = transaction.now
        _write(transaction, replace(group, state=GroupState.DELETED, state_since=now, emptied_at=now), group)


def note_shard_writes(connection: sqlite3.Connection, pools: Iterable[str]) -> None:
    """Changes the pools' tokens."""
    connection.executemany(_NOTE_SHARD_WRITE, [(pool,) for pool in pools])


def _find(connection: sqlite3.Connection, group_id: str) -> Group | None:
    row = connection.execute(f"SELECT {_GROUP} FROM timer_groups WHERE group_id = ?", (group_id,)).fetchone()
    return None if row is None else CODEC.group(row)


def _known(connection: sqlite3.Connection, group_id: str) -> Group:
    group = _find(connection, group_id)
    if group is None:
        raise UnknownGroup(group_id)
    return group


def _write(transaction: Transaction, group: Group, before: Group | None) -> Group:
    """Writes the row under the next number of the one counter; what shards its pools list may change with it."""
    written = replace(group, change=value(transaction.connection, _NEXT_CHANGE))
    transaction.connection.execute(
        _WRITE,
        (
            written.group_id,
            written.owner,
            written.shards,
            written.pool,
            spec_to_json(written.spec),
            written.generation,
            GROUP_STATE_CODES[written.state],
            instant_to_micros(written.state_since),
            None if written.emptied_at is None else instant_to_micros(written.emptied_at),
            written.change,
        ),
    )
    note_shard_writes(transaction.connection, {group.pool, before.pool if before else group.pool})
    return written
