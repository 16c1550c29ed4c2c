"""The status of a TimerGroup, out of what was gathered of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from durable_timer.models.durations import format_duration
from durable_timer.models.group import TimerGroupSpec
from durable_timer.models.page import Counts
from durable_timer.models.status import (
    Condition,
    ConditionStatus,
    ConditionType,
    ExecutorStatus,
    GroupReason,
    GroupSummary,
    TimerGroupStatus,
)
from durable_timer.planning.conditions import Finding, conditions, false, true, unknown
from durable_timer.planning.serving import Serving

SUMMARY_EVERY: Final = timedelta(minutes=1)
"""Least time between two writes of the summary for its own sake."""

TOLD: Final = (
    ConditionType.READY,
    ConditionType.STALLED,
    ConditionType.SECRETS_AVAILABLE,
    ConditionType.LATENESS_WITHIN_OBJECTIVE,
    ConditionType.PAUSED,
)
"""The conditions whose transitions become Events."""

UNTOLD: Final = (
    GroupReason.PROGRESSING, GroupReason.NO_DATA, GroupReason.NOT_PAUSED, GroupReason.PAUSING, GroupReason.NO_SECRETS,
    GroupReason.SECRETS_AVAILABLE, GroupReason.LATENESS_WITHIN_OBJECTIVE,
)  # fmt: skip
"""Reasons that are no news of their own."""

_STEADY: Final = frozenset({
    ConditionType.SHARDS_ASSIGNED, ConditionType.SECRETS_AVAILABLE, ConditionType.LATENESS_WITHIN_OBJECTIVE,
    ConditionType.PAUSED,
})  # fmt: skip
"""What stays as it was last seen while the store does not say anything."""


_SETTLED: Final = (GroupReason.SHARDS_ASSIGNED, GroupReason.SHARDS_UNASSIGNED)


@dataclass(frozen=True, slots=True)
class Blocked:
    """Why a group is not registered as it is declared. `stalled`: until somebody changes something."""

    reason: GroupReason
    message: str
    stalled: bool = False


@dataclass(frozen=True, slots=True)
class Lateness:
    """What is held of the lateness of a group, once it has lasted; `p99` is that of the moment when it began."""

    reason: GroupReason = GroupReason.NO_DATA
    p99: float | None = None


@dataclass(frozen=True, slots=True)
class Pausing:
    """Whether `spec.paused` is in effect."""

    asked: bool
    in_effect: bool


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """All that was gathered of one TimerGroup. `now` is aware UTC.

    `blocked` is None for a group that is registered as declared; only then the rest means this group. `away` says why
    the store cannot be reached. `serving` is None until its pool was looked at. `unassigned`: not all shards are with
    their executor, and that for longer than a hand-over takes; `new`: they never were, and the group, or the first living executor of its pool, is as new as that.
    `secrets_told`: the living executors have looked for the Secrets that the spec names. `lateness` is None until it was
    watched for long enough. What is not known yet stays as it was published, so that a new leader is no news.
    """

    generation: int
    group_id: str
    spec: TimerGroupSpec | None
    now: datetime
    blocked: Blocked | None = None
    away: str | None = None
    serving: Serving | None = None
    unassigned: bool = True
    new: bool = False
    secrets_told: bool = True
    lateness: Lateness | None = None
    paused: Pausing = Pausing(asked=False, in_effect=False)
    counts: Counts | None = None


def group_status(previous: TimerGroupStatus, facts: GroupFacts) -> TimerGroupStatus:
    """The status to publish: equal to `previous` where nothing that matters changed."""
    kept = facts.away is not None or facts.blocked is None or not facts.blocked.stalled
    executors = facts.serving.executors if facts.serving is not None else (previous.executors if kept else ())
    current = TimerGroupStatus(
        observed_generation=facts.generation,
        group_id=facts.group_id,
        conditions=conditions(previous.conditions, _findings(previous, facts), facts.generation, facts.now),
        executors=executors,
        summary=previous.summary,
    )
    summary = _summary(facts, executors)
    if summary is None:
        return current if kept else current.model_copy(update={"summary": None})
    if current != previous or summary_is_due(previous.summary, summary):
        return current.model_copy(update={"summary": summary})
    return current


def summary_is_due(previous: GroupSummary | None, current: GroupSummary) -> bool:
    """Whether the figures alone are worth a write: a minute later, and one of them left its decade."""
    if previous is None:
        return True
    if current.observed_time - previous.observed_time < SUMMARY_EVERY:
        return False
    return _decades(previous) != _decades(current)


def _decades(summary: GroupSummary) -> tuple[object, ...]:
    return (
        summary.shards,
        summary.executors,
        len(str(summary.due)) if summary.due else 0,
        len(str(summary.failed)) if summary.failed else 0,
    )


def _summary(facts: GroupFacts, executors: tuple[ExecutorStatus, ...]) -> GroupSummary | None:
    if facts.serving is None or facts.counts is None:
        return None
    return GroupSummary(
        shards=f"{facts.serving.claimed}/{facts.serving.total}",
        shards_assigned=facts.serving.claimed,
        shards_total=facts.serving.total,
        executors=len(executors),
        due=facts.counts.due,
        failed=facts.counts.failed,
        oldest_due_time=facts.counts.oldest_due_at,
        observed_time=facts.now,
    )


def _findings(previous: TimerGroupStatus, facts: GroupFacts) -> Iterator[Finding]:
    """All conditions: Ready first, of which the others are the parts."""
    parts = list(_parts(previous.conditions, facts))
    reason, message, stalled = _verdict(facts, parts)
    ready = reason == GroupReason.READY
    yield Finding(ConditionType.READY, ConditionStatus.TRUE if ready else ConditionStatus.FALSE, reason, message)
    if stalled:
        yield true(ConditionType.STALLED, reason, message)
    elif not ready:
        yield true(ConditionType.RECONCILING, reason, message)
    yield from parts


def _verdict(facts: GroupFacts, parts: list[Finding]) -> tuple[str, str, bool]:
    if facts.away is not None:
        return GroupReason.STORE_UNREACHABLE, facts.away, False
    if facts.blocked is not None:
        return facts.blocked.reason, facts.blocked.message, facts.blocked.stalled
    found = {part.type: part for part in parts}
    needed = (found[ConditionType.SECRETS_AVAILABLE], found[ConditionType.SHARDS_ASSIGNED])
    for status in (ConditionStatus.FALSE, ConditionStatus.UNKNOWN):
        for part in needed:
            if part.status is status:
                return part.reason, part.message, False
    return GroupReason.READY, "registered, and all shards are served", False


def _parts(previous: tuple[Condition, ...], facts: GroupFacts) -> Iterator[Finding]:
    if facts.away is not None:
        yield false(ConditionType.STORE_REACHABLE, GroupReason.STORE_UNREACHABLE, facts.away)
        yield from _as_last_seen(previous)
        return
    if facts.blocked is not None and facts.blocked.reason in (GroupReason.INVALID_SPEC, GroupReason.STORE_UNKNOWN):
        return
    yield true(ConditionType.STORE_REACHABLE, GroupReason.STORE_REACHABLE, "the store answers")
    if facts.blocked is not None or facts.spec is None:
        return
    known = {found.type: found for found in _as_last_seen(previous)}
    yield _shards(facts, facts.spec, known.get(ConditionType.SHARDS_ASSIGNED))
    yield _secrets(facts, facts.spec, known.get(ConditionType.SECRETS_AVAILABLE))
    yield _lateness(facts, facts.spec, known.get(ConditionType.LATENESS_WITHIN_OBJECTIVE))
    yield _paused(facts.paused)


def _as_last_seen(previous: tuple[Condition, ...]) -> Iterator[Finding]:
    for condition in previous:
        if condition.type in _STEADY:
            yield Finding(condition.type, condition.status, condition.reason, condition.message)


def _shards(facts: GroupFacts, spec: TimerGroupSpec, known: Finding | None) -> Finding:
    type_ = ConditionType.SHARDS_ASSIGNED
    serving = facts.serving
    if (serving is None or facts.new) and facts.unassigned and known is not None and known.reason in _SETTLED:
        return known
    if serving is None:
        return false(type_, GroupReason.PROGRESSING, "its shards are about to be claimed")
    if not facts.unassigned:
        return true(type_, GroupReason.SHARDS_ASSIGNED, "each shard is claimed by the executor it is assigned to")
    if serving.living == 0:
        return false(type_, GroupReason.NO_EXECUTORS, f"no executor lives in pool {spec.executor_pool!r}")
    if facts.new:
        return false(type_, GroupReason.PROGRESSING, "its shards are being claimed")
    if serving.claimed == serving.total:
        return false(
            type_, GroupReason.SHARDS_UNASSIGNED, "shards are on their way to the executor they are assigned to"
        )
    return false(
        type_,
        GroupReason.SHARDS_UNASSIGNED,
        f"{serving.total - serving.claimed} of {serving.total} shards have no executor",
    )


def _secrets(facts: GroupFacts, spec: TimerGroupSpec, known: Finding | None) -> Finding:
    type_ = ConditionType.SECRETS_AVAILABLE
    signing = spec.callback.signing
    if signing is None or not signing.secret_refs:
        return true(type_, GroupReason.NO_SECRETS, "callbacks are not signed")
    if facts.serving is None and facts.secrets_told and known is not None:
        return known
    names = facts.serving.unreadable if facts.serving is not None else ()
    if not names and not facts.secrets_told:
        return unknown(type_, GroupReason.PROGRESSING, "executors are about to look for its Secrets")
    if not names:
        return true(type_, GroupReason.SECRETS_AVAILABLE, "no executor misses a Secret")
    secrets = ", ".join(f"{ref.name}/{ref.key}" for ref in signing.secret_refs)
    return false(type_, GroupReason.SECRET_MISSING, f"callbacks are held: {', '.join(names)} cannot read {secrets}")


def _lateness(facts: GroupFacts, spec: TimerGroupSpec, known: Finding | None) -> Finding:
    type_ = ConditionType.LATENESS_WITHIN_OBJECTIVE
    objective = format_duration(spec.objectives.lateness)
    if facts.lateness is None and known is not None:
        return known
    lateness = facts.lateness or Lateness()
    match lateness.reason:
        case GroupReason.LATENESS_ABOVE_OBJECTIVE:
            p99 = lateness.p99 or 0.0
            return false(type_, lateness.reason, f"the 99th percentile was {p99:.3g} s, above {objective}")
        case GroupReason.LATENESS_WITHIN_OBJECTIVE:
            return true(type_, lateness.reason, f"the 99th percentile is at most {objective}")
        case _:
            return unknown(type_, GroupReason.NO_DATA, "no executor has reported lateness lately")


def _paused(paused: Pausing) -> Finding:
    type_ = ConditionType.PAUSED
    if not paused.asked:
        return false(type_, GroupReason.NOT_PAUSED, "spec.paused is false")
    if not paused.in_effect:
        return false(type_, GroupReason.PAUSING, "executors are about to stop")
    return true(type_, GroupReason.PAUSED, "spec.paused is true: no callback begins")
