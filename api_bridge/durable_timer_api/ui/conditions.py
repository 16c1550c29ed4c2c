"""A group's conditions as far as the store knows them, under the names that its resource's status has. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from durable_timer.models.group import Group, GroupState
from durable_timer.models.status import ConditionStatus, ConditionType, GroupReason
from durable_timer.planning.conditions import Finding, false, true, unknown
from durable_timer.planning.serving import Serving

_GOOD: Final = {
    ConditionType.SHARDS_ASSIGNED,
    ConditionType.STORE_REACHABLE,
    ConditionType.SECRETS_AVAILABLE,
    ConditionType.LATENESS_WITHIN_OBJECTIVE,
}
"""Conditions that ask for attention when they are False."""

_NAMED: Final = 3
"""Executors that a message names."""


def group_conditions(group: Group, serving: Serving | None, store_answers: bool) -> list[Finding]:
    """The conditions of a group; `serving` is None where its pool was not read. A deleted group is served by nobody."""
    found = [_store(store_answers)]
    if group.state is not GroupState.ACTIVE:
        return found
    if serving is None:
        not_read = GroupReason.NO_DATA, "The pool was not read."
        found += [unknown(kind, *not_read) for kind in ConditionType if kind in _GOOD - {ConditionType.STORE_REACHABLE}]
        return [*found, _paused(group)]
    return [*found, _shards(group, serving), _secrets(group, serving), _lateness(group, serving), _paused(group)]


def needs_attention(conditions: Sequence[Finding]) -> bool:
    """Whether one of them is bad."""
    return any(found.type in _GOOD and found.status is ConditionStatus.FALSE for found in conditions)


def _store(answers: bool) -> Finding:
    kind = ConditionType.STORE_REACHABLE
    if answers:
        return true(kind, GroupReason.STORE_REACHABLE, "The store answers.")
    message = "The store did not answer this bridge lately; what is shown may be old."
    return false(kind, GroupReason.STORE_UNREACHABLE, message)


def _shards(group: Group, serving: Serving) -> Finding:
    kind = ConditionType.SHARDS_ASSIGNED
    left = group.shards - serving.claimed
    if left <= 0:
        return true(kind, GroupReason.SHARDS_ASSIGNED, f"All {group.shards} shards are owned.")
    if not serving.living:
        return false(kind, GroupReason.NO_EXECUTORS, f'No executor lives in pool "{group.pool}".')
    message = f"{left} of {group.shards} shards have no living owner; their timers wait."
    return false(kind, GroupReason.SHARDS_UNASSIGNED, message)


def _secrets(group: Group, serving: Serving) -> Finding:
    kind = ConditionType.SECRETS_AVAILABLE
    signing = group.spec.callback.signing
    if signing is None or not signing.secret_refs:
        return true(kind, GroupReason.NO_SECRETS, "Callbacks are not signed.")
    missing = serving.unreadable
    if missing:
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        message = f"Callbacks are held: {', '.join(missing[:_NAMED])}{more} cannot read the group's Secrets."
        return false(kind, GroupReason.SECRET_MISSING, message)
    if serving.read_to < group.change:
        return unknown(kind, GroupReason.PROGRESSING, "Executors are about to look for its Secrets.")
    return true(kind, GroupReason.SECRETS_AVAILABLE, "All executors can sign.")


def _lateness(group: Group, serving: Serving) -> Finding:
    kind = ConditionType.LATENESS_WITHIN_OBJECTIVE
    objective = group.spec.objectives.lateness.total_seconds()
    if serving.lateness is None:
        return unknown(kind, GroupReason.NO_DATA, "Nothing was delivered lately.")
    message = f"p99 over 30 s is {serving.lateness:.3g} s; the objective is {objective:g} s."
    if serving.lateness <= objective:
        return true(kind, GroupReason.LATENESS_WITHIN_OBJECTIVE, message)
    return false(kind, GroupReason.LATENESS_ABOVE_OBJECTIVE, message)


def _paused(group: Group) -> Finding:
    kind = ConditionType.PAUSED
    if group.spec.paused:
        return true(kind, GroupReason.PAUSED, "Timers are accepted and none fires.")
    return false(kind, GroupReason.NOT_PAUSED, "Timers fire.")
