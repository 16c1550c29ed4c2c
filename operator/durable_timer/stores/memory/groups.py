"""Groups and their shard rows."""
# ruff: noqa: D103 - a function does what the method of its name in stores.base.Store says

from __future__ import annotations

from dataclasses import replace

from durable_timer.errors import GroupIdConflict, UnknownGroup
from durable_timer.models.group import Group, GroupRegistration, GroupState
from durable_timer.models.ownership import Shard, ShardKey
from durable_timer.planning.registration import moves, registered, resumes
from durable_timer.stores.memory.database import MemoryDatabase


def register(db: MemoryDatabase, asked: GroupRegistration) -> Group:
    present = db.groups.get(asked.group_id)
    wanted = registered(present, asked, db.now())
    if wanted is present:
        return present
    group = _write(db, wanted)
    for number in range(asked.shards):
        known = db.shards.get(ShardKey(asked.group_id, number))
        if known is None or moves(present, asked):
            row = known or Shard(asked.group_id, number, 0, None, None, 0)
            db.put_shard(replace(row, assigned_to=None, plan_term=db.terms.get(asked.pool, 0)))
    if resumes(present, asked):
        db.wake(asked.group_id, ())
    return group


def since(db: MemoryDatabase, change: int | None) -> tuple[list[Group], int]:
    newer = [group for group in db.groups.values() if change is None or group.change > change]
    return sorted(newer, key=lambda group: group.change), db.last_change


def set_state(db: MemoryDatabase, group_id: str, owner: str, state: GroupState) -> Group:
    group = _known(db, group_id)
    if group.owner != owner:
        raise GroupIdConflict(group_id, group.owner)
    if group.state is state:
        return group
    written = _write(db, replace(group, state=state, state_since=db.now()))
    if state is GroupState.ACTIVE:
        db.wake(group_id, ())
    return written


def transfer(db: MemoryDatabase, group_id: str, to_owner: str, from_owner: str | None) -> Group:
    group = _known(db, group_id)
    if group.owner == to_owner:
        return group
    if from_owner is not None and group.owner != from_owner:
        raise GroupIdConflict(group_id, group.owner)
    return _write(db, replace(group, owner=to_owner))


def finish_purge(db: MemoryDatabase, group_id: str) -> None:
    group = db.groups.get(group_id)
    if group is not None and group.state is GroupState.PURGING:
        now = db.now()
        _write(db, replace(group, state=GroupState.DELETED, state_since=now, emptied_at=now))


def _known(db: MemoryDatabase, group_id: str) -> Group:
    group = db.groups.get(group_id)
    if group is None:
        raise UnknownGroup(group_id)
    return group


def _write(db: MemoryDatabase, group: Group) -> Group:
    """Gives the row the next number of the one counter. What shards its pool lists may change with it."""
    before = db.groups.get(group.group_id)
    db.last_change += 1
    written = db.groups[group.group_id] = replace(group, change=db.last_change)
    for pool in {group.pool, before.pool if before else group.pool}:
        db.note_shard_write(pool)
    return written
