"""Conditions of a resource: what was found out, when it last changed, and which changes people are told of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, Literal, NamedTuple

from durable_timer.models.status import Condition, ConditionStatus, ConditionType

MESSAGE_MAX: Final = 32_768
"""Characters of a condition's message (metav1.Condition)."""


class Finding(NamedTuple):
    """One aspect of a resource as it is now."""

    type: str
    status: ConditionStatus
    reason: str
    message: str


def true(type_: ConditionType, reason: str, message: str) -> Finding:
    """That an aspect holds."""
    return Finding(type_, ConditionStatus.TRUE, reason, message)


def false(type_: ConditionType, reason: str, message: str) -> Finding:
    """That an aspect does not hold."""
    return Finding(type_, ConditionStatus.FALSE, reason, message)


def unknown(type_: ConditionType, reason: str, message: str) -> Finding:
    """That an aspect cannot be told."""
    return Finding(type_, ConditionStatus.UNKNOWN, reason, message)


def conditions(
    previous: Sequence[Condition], findings: Iterable[Finding], generation: int, now: datetime
) -> tuple[Condition, ...]:
    """The conditions that say what was found, in that order; those of which nothing was found go.

    A condition whose status is as before keeps the time of its last transition.
    """
    known = {condition.type: condition for condition in previous}
    return tuple(
        Condition(
            type=str(found.type),
            status=found.status,
            reason=str(found.reason),
            message=found.message[:MESSAGE_MAX],
            observed_generation=generation,
            last_transition_time=_since(known.get(found.type), found.status, now),
        )
        for found in findings
    )


class News(NamedTuple):
    """A transition that is worth an Event."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


def news(
    previous: Sequence[Condition], current: Sequence[Condition], told: Iterable[ConditionType], quiet: Iterable[str]
) -> list[News]:
    """The Events about what changed between two sets of conditions.

    Of the types in `told`: a status that changed, or another reason while it is not True. Reasons in `quiet` (what
    passes by itself at every start) are no news. A condition that is True is Normal, another a Warning.
    """
    before = {condition.type: condition for condition in previous}
    types = {type_.value for type_ in told}
    silent = set(quiet)
    found: list[News] = []
    for condition in current:
        if condition.type not in types or condition.reason in silent or not _changed(before, condition):
            continue
        good = condition.status is not ConditionStatus.FALSE
        found.append(News("Normal" if good else "Warning", condition.reason, condition.message))
    return found


def _changed(before: dict[str, Condition], condition: Condition) -> bool:
    was = before.get(condition.type)
    if was is None or was.status is not condition.status:
        return True
    return condition.status is not ConditionStatus.TRUE and was.reason != condition.reason


def _since(known: Condition | None, status: ConditionStatus, now: datetime) -> datetime:
    return known.last_transition_time if known is not None and known.status is status else now
