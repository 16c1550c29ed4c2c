"""A group's conditions as far as the store knows them, under the names that its resource's status has. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from durable_timer.models.group import Group, GroupState
from durable_timer.models.ownership import Member
from durable_timer.models.status import ConditionStatus, ConditionType, GroupReason
from durable_timer_api.ui.pools import PoolView

_GOOD: Final = {
    ConditionType.SHARDS_ASSIGNED,
    ConditionType.STORE_REACHABLE,
    ConditionType.SECRETS_AVAILABLE,
    ConditionType.LATENESS_WITHIN_OBJECTIVE,
}
"""Conditions that ask for attention when they are False."""


class Seen(NamedTuple):
    """One condition, as the bridge sees it now."""

    type: ConditionType
    status: ConditionStatus
    reason: GroupReason
    message: str


def group_conditions(group: Group, pool: PoolView | None, store_answers: bool) -> list[Seen]:
    """The conditions of a group; `pool` is None where it could not be read. A deleted group has no shards to serve."""
    found = [_store(store_answers)]
    if group.state is not GroupState.ACTIVE:
        return found
    if pool is None:
        unknown = ConditionStatus.UNKNOWN, GroupReason.NO_DATA, "The pool was not read."
        kinds = (
            ConditionType.SHARDS_ASSIGNED,
            ConditionType.SECRETS_AVAILABLE,
            ConditionType.LATENESS_WITHIN_OBJECTIVE,
        )
        return [*found, *(Seen(kind, *unknown) for kind in kinds), _paused(group)]
    living = list(pool.living.values())
    owned = sum(shard.owner in pool.living for shard in pool.shards.get(group.group_id, ()))
    return [*found, _shards(group, owned, living), _secrets(group, living), _lateness(group, living), _paused(group)]


def needs_attention(conditions: Sequence[Seen]) -> bool:
    """Whether one of them is bad."""
    return any(seen.type in _GOOD and seen.status is ConditionStatus.FALSE for seen in conditions)


def worst_lateness(group_id: str, members: Iterable[Member]) -> float | None:
    """The highest p99 of lateness, in seconds, that a living member reports of the group over the last 30 s."""
    return max((m.report.lateness_p99[group_id] for m in members if group_id in m.report.lateness_p99), default=None)


def _store(answers: bool) -> Seen:
    if answers:
        return Seen(
            ConditionType.STORE_REACHABLE, ConditionStatus.TRUE, GroupReason.STORE_REACHABLE, "The store answers."
        )
    message = "The store did not answer this bridge lately; what is shown may be old."
    return Seen(ConditionType.STORE_REACHABLE, ConditionStatus.FALSE, GroupReason.STORE_UNREACHABLE, message)


def _shards(group: Group, owned: int, living: Sequence[Member]) -> Seen:
    kind = ConditionType.SHARDS_ASSIGNED
    if owned == group.shards:
        return Seen(kind, ConditionStatus.TRUE, GroupReason.SHARDS_ASSIGNED, f"All {owned} shards are owned.")
    if not living:
        message = f'No executor lives in pool "{group.pool}": nothing fires.'
        return Seen(kind, ConditionStatus.FALSE, GroupReason.NO_EXECUTORS, message)
    message = f"{group.shards - owned} of {group.shards} shards have no living owner; their timers wait."
    return Seen(kind, ConditionStatus.FALSE, GroupReason.SHARDS_UNASSIGNED, message)


def _secrets(group: Group, living: Sequence[Member]) -> Seen:
    kind = ConditionType.SECRETS_AVAILABLE
    signing = group.spec.callback.signing
    if signing is None or not signing.secret_refs:
        return Seen(kind, ConditionStatus.TRUE, GroupReason.NO_SECRETS, "Callbacks are not signed.")
    missing = [member.name for member in living if group.group_id in member.report.unreadable_secrets]
    if missing:
        shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")  # noqa: PLR2004
        message = f"Callbacks are held: {shown} cannot read the group's Secrets."
        return Seen(kind, ConditionStatus.FALSE, GroupReason.SECRET_MISSING, message)
    return Seen(kind, ConditionStatus.TRUE, GroupReason.SECRETS_AVAILABLE, "All executors can sign.")


def _lateness(group: Group, living: Sequence[Member]) -> Seen:
    kind = ConditionType.LATENESS_WITHIN_OBJECTIVE
    worst = worst_lateness(group.group_id, living)
    objective = group.spec.objectives.lateness.total_seconds()
    if worst is None:
        return Seen(kind, ConditionStatus.UNKNOWN, GroupReason.NO_DATA, "Nothing was delivered lately.")
    message = f"p99 over 30 s is {worst:.3g} s; the objective is {objective:g} s."
    if worst <= objective:
        return Seen(kind, ConditionStatus.TRUE, GroupReason.LATENESS_WITHIN_OBJECTIVE, message)
    return Seen(kind, ConditionStatus.FALSE, GroupReason.LATENESS_ABOVE_OBJECTIVE, message)


def _paused(group: Group) -> Seen:
    kind = ConditionType.PAUSED
    if group.spec.paused:
        return Seen(kind, ConditionStatus.TRUE, GroupReason.PAUSED, "Timers are accepted and none fires.")
    return Seen(kind, ConditionStatus.FALSE, GroupReason.NOT_PAUSED, "Timers fire.")
