"""What a TimerGroup declares, into the store that it names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import orjson
from pydantic import ValidationError

from durable_timer.errors import GroupIdConflict, GroupPurging, ShardsMismatch
from durable_timer.models.group import Group, GroupRegistration, GroupState, TimerGroupSpec
from durable_timer.models.resource import ADOPT_FROM, Resource
from durable_timer.models.status import GroupReason
from durable_timer.planning.group_status import Blocked
from durable_timer.planning.registration import EMPTY_FOR, check_registration
from durable_timer.reconcile.writing import GroupWriter

_PROBLEMS_SHOWN: Final = 5


def declared_spec(resource: Resource) -> TimerGroupSpec | Blocked:
    """The spec of a TimerGroup, with what the API server cannot check checked."""
    try:
        return TimerGroupSpec.model_validate_json(orjson.dumps(dict(resource.spec)))
    except orjson.JSONEncodeError as error:
        return Blocked(GroupReason.INVALID_SPEC, f"spec: {error}", stalled=True)
    except ValidationError as error:
        problems = [
            f"{_path(details['loc'])}: {details['msg'].removeprefix('Value error, ')}"
            for details in error.errors(include_url=False, include_input=False)[:_PROBLEMS_SHOWN]
        ]
        return Blocked(GroupReason.INVALID_SPEC, "; ".join(problems), stalled=True)


def declared_id(resource: Resource) -> str:
    """The id of the group that a TimerGroup declares, be its spec valid or not."""
    group_id = resource.spec.get("groupId")
    return group_id if isinstance(group_id, str) and group_id else resource.name


@dataclass(frozen=True, slots=True)
class Registered:
    """What became of a registration: the row as it is now, and why it is not as declared, if it is not."""

    row: Group | None
    blocked: Blocked | None = None
    adopted_from: str | None = None


async def register(
    writer: GroupWriter,
    resource: Resource,
    spec: TimerGroupSpec,
    owner: str,
    row: Group | None,
    adopted: str | None = None,
) -> Registered:
    """Registers a group as its resource declares it; `row` is what is known of it already.

    `adopted`: from whom the annotation has had it taken over before. Each of its values acts once: two resources that
    name each other would else take the group from each other without end.

    Nothing is asked of the store when the row says so already. Raises: StoreError, NotLeading.
    """
    asked = GroupRegistration(
        group_id=declared_id(resource),
        owner=owner,
        shards=spec.shards,
        pool=spec.executor_pool,
        spec=spec,
        generation=resource.generation,
    )
    if row is not None and _says(row, asked):
        return Registered(row)
    if row is not None and row.owner == owner and row.pool != asked.pool and (left := await _leaves_pool(writer, row)):
        return left
    try:
        return Registered(await writer.register(asked))
    except GroupIdConflict as conflict:
        return await _conflict(writer, resource, asked, conflict, adopted)
    except GroupPurging:
        message = f"the timers of an earlier group {asked.group_id!r} are being deleted; it is registered after that"
        return Registered(row, Blocked(GroupReason.PURGING, message))
    except ShardsMismatch as mismatch:
        row = await _present(writer, asked.group_id, owner)
        return Registered(row, _mismatch(mismatch, row, await writer.store.now()))


async def _conflict(
    writer: GroupWriter, resource: Resource, asked: GroupRegistration, conflict: GroupIdConflict, adopted: str | None
) -> Registered:
    if adopted == conflict.owner == resource.annotations.get(ADOPT_FROM):
        message = (
            f"group {asked.group_id!r} belongs to {conflict.owner!r}, who took it back after the annotation {ADOPT_FROM} "
            "had acted; take that annotation off both, then set it on the one that is to have the group"
        )
        return Registered(None, Blocked(GroupReason.GROUP_ID_CONFLICT, message, stalled=True))
    if resource.annotations.get(ADOPT_FROM) != conflict.owner:
        message = (
            f"group {asked.group_id!r} belongs to {conflict.owner!r}; choose another spec.groupId, or take it over with "
            f"the annotation {ADOPT_FROM}: {conflict.owner}"
        )
        return Registered(None, Blocked(GroupReason.GROUP_ID_CONFLICT, message, stalled=True))
    present = await _present(writer, asked.group_id, conflict.owner)
    now = await writer.store.now()
    try:
        if present is not None:
            check_registration(replace(present, owner=asked.owner), asked, now)
    except ShardsMismatch as mismatch:
        return Registered(None, _mismatch(mismatch, present, now))
    except GroupPurging:
        message = f"{conflict.owner!r} has the timers of group {asked.group_id!r} deleted; it is taken over after that"
        return Registered(None, Blocked(GroupReason.PURGING, message))
    row = await writer.transfer(asked.group_id, asked.owner, conflict.owner)
    again = await register(writer, resource, asked.spec, asked.owner, row, conflict.owner)
    return Registered(again.row, again.blocked, conflict.owner)


async def _present(writer: GroupWriter, group_id: str, owner: str) -> Group | None:
    """The row as it is now, where that is the owner's. Raises: StoreError."""
    rows, _ = await writer.store.groups(None)
    return next((row for row in rows if (row.group_id, row.owner) == (group_id, owner)), None)


def _mismatch(mismatch: ShardsMismatch, row: Group | None, now: datetime) -> Blocked:
    """Another count of shards: to be waited for where a purge is just over, else the user's to solve."""
    if row is not None and row.emptied_at is not None and now - row.emptied_at < EMPTY_FOR:
        message = f"{mismatch}; it was just emptied, and takes another count a minute after that"
        return Blocked(GroupReason.SHARDS_MISMATCH, message)
    message = f"{mismatch}; the count changes only after its timers were deleted (deletionPolicy: Delete)"
    return Blocked(GroupReason.SHARDS_MISMATCH, message, stalled=True)


async def _leaves_pool(writer: GroupWriter, row: Group) -> Registered | None:
    """Lets the executors of the former pool go first: moved at once, they would not see shards that they own.

    What is dead gives nothing back, and holds nothing up: of a deleted group nobody takes over what it owned.
    """
    if row.state is GroupState.ACTIVE:
        row = await writer.mark(row.group_id, row.owner, GroupState.DELETED)
    shards, _ = await writer.store.shards(row.pool)
    living = {member.incarnation for member in await writer.store.members(row.pool) if not member.dead}
    if not any(shard.group_id == row.group_id and shard.owner in living for shard in shards):
        return None
    message = f"executors of pool {row.pool!r} still give back the shards of an earlier group {row.group_id!r}"
    return Registered(row, Blocked(GroupReason.PROGRESSING, message))


def _says(row: Group, asked: GroupRegistration) -> bool:
    return row.state is GroupState.ACTIVE and asked == GroupRegistration(
        row.group_id, row.owner, row.shards, row.pool, row.spec, row.generation
    )


def _path(location: tuple[int | str, ...]) -> str:
    steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return f"spec{steps}"
