"""What a registration does to a group's row: who may write it, and what is written."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from durable_timer.errors import GroupIdConflict, GroupPurging, ShardsMismatch
from durable_timer.models.group import Group, GroupRegistration, GroupState

EMPTY_FOR: Final = timedelta(minutes=1)
"""How long ago a group must have been found empty for another shard count: no late create is under way any more."""


def check_registration(present: Group, asked: GroupRegistration, now: datetime) -> None:
    """Holds a registration against the row that is there. `now` is the store's.

    Raises:
        GroupIdConflict: The group belongs to another owner.
        GroupPurging: Its timers are being deleted.
        ShardsMismatch: It has another number of shards, and was not found empty a minute ago or earlier.
    """
    if present.owner != asked.owner:
        raise GroupIdConflict(asked.group_id, present.owner)
    if present.state is GroupState.PURGING:
        raise GroupPurging(asked.group_id)
    emptied = present.emptied_at is not None and now - present.emptied_at >= EMPTY_FOR
    if present.shards != asked.shards and not emptied:
        raise ShardsMismatch(asked.group_id, present.shards, asked.shards)


def registered(present: Group | None, asked: GroupRegistration, now: datetime) -> Group:
    """The row after a registration, `change` left at 0 for the store; `present` itself when it says so already.

    Raises what `check_registration` raises.
    """
    active = present is not None and present.state is GroupState.ACTIVE
    if present is not None:
        check_registration(present, asked, now)
        if active and _says(present) == asked:
            return present
    return Group(
        group_id=asked.group_id,
        owner=asked.owner,
        shards=asked.shards,
        pool=asked.pool,
        spec=asked.spec,
        generation=asked.generation,
        state=GroupState.ACTIVE,
        state_since=present.state_since if present is not None and active else now,
        emptied_at=None,
        change=0,
    )


def resumes(present: Group | None, asked: GroupRegistration) -> bool:
    """Whether timers that were held become due by the registration: the group was deleted or paused, and is not now."""
    if present is None or asked.spec.paused:
        return False
    return present.state is not GroupState.ACTIVE or present.spec.paused


def moves(present: Group | None, asked: GroupRegistration) -> bool:
    """Whether the group comes from another pool, whose plan and term mean nothing in the new one."""
    return present is not None and present.pool != asked.pool


def _says(group: Group) -> GroupRegistration:
    return GroupRegistration(group.group_id, group.owner, group.shards, group.pool, group.spec, group.generation)
