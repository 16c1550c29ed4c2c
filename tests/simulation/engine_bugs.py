"""Bugs to plant in the engine and the planner, each in one place."""

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import patch

from durable_timer.engine import ownership, scans, taking
from durable_timer.engine.agenda import OwnedShard
from durable_timer.engine.holdings import Job
from durable_timer.engine.hosts import Host
from durable_timer.engine.membership import Membership
from durable_timer.engine.pacing import Pace
from durable_timer.engine.scans import Scans
from durable_timer.engine.settling import Settler
from durable_timer.engine.store_time import StoreTime
from durable_timer.engine.sweeping import SWEEP_EVERY, Sweeper
from durable_timer.models.outcome import Outcome, OutcomeKind
from durable_timer.models.ownership import Member, Shard, ShardKey
from durable_timer.models.results import Refusal
from durable_timer.models.timer import Timer
from durable_timer.planning import assignment, transitions
from tests.simulation import planner


@contextlib.contextmanager
def draining_counts_as_living() -> Iterator[None]:
    """A draining member counts as living."""
    right_plan, right_rebalance = assignment.plan, assignment.rebalance

    def plan(members: Sequence[Member], shards: Sequence[Shard]) -> dict[ShardKey, str | None]:
        return right_plan([replace(member, draining=False) for member in members], shards)

    def rebalance(members: Sequence[Member], shards: Sequence[Shard]) -> dict[ShardKey, str | None]:
        return right_rebalance([replace(member, draining=False) for member in members], shards)

    with patch.object(ownership, "plan", plan), patch.object(planner, "rebalance", rebalance):
        yield


def release_keeps_unsent() -> AbstractContextManager[Any]:
    """A release that keeps its unsent rows: forgotten here, and still marked as running in the store."""

    async def give_back(self: Settler, jobs: Sequence[Job]) -> None:
        for job in jobs:
            job.dropped = True
            self._holdings.remove(job)

    return patch.object(Settler, "give_back", give_back)


def trust_from_the_answer() -> AbstractContextManager[Any]:
    """Trust dated at the answer's arrival instead of the beat's sending."""
    right = Membership._beat

    async def beat(self: Membership) -> None:
        before = self._trusted_until
        await right(self)
        if self._trusted_until not in (before, float("-inf")):
            self._trusted_until = self._clock.monotonic() + self._settings.trust

    return patch.object(Membership, "_beat", beat)


@contextlib.contextmanager
def next_as_a_duration() -> Iterator[None]:
    """A schedule's next occurrence as a duration from the executor's clock, added to the store's."""
    right_put, right_settled = Settler.put, transitions.settled

    def put(self: Settler, job: Job, outcome: Outcome) -> None:
        if outcome.at is not None:
            outcome.delay = outcome.at - self._clock.now()
        right_put(self, job, outcome)

    def settled(row: Timer | None, outcome: Outcome, now: datetime) -> Timer | Refusal | None:
        if outcome.kind is OutcomeKind.NEXT:
            outcome = replace(outcome, at=now + outcome.delay, delay=timedelta(0))
        return right_settled(row, outcome, now)

    with patch.object(Settler, "put", put), patch.object(transitions, "settled", settled):
        yield


def step_back_unnoticed() -> AbstractContextManager[Any]:
    """A store's now that is placed where a clock that has gone back since was."""
    right = StoreTime.instant

    def instant(self: StoreTime, now: datetime, asked: float, received: float) -> float:
        return right(self, now, float("-inf"), received)

    return patch.object(StoreTime, "instant", instant)


@contextlib.contextmanager
def backlog_starves() -> Iterator[None]:
    """Requests for overdue timers that count as under way beside other groups' for ever."""

    def ended(self: Pace, job: Job) -> None:
        del self, job

    def next_step(self: Pace) -> None:
        self._stepping = False

    with patch.object(Pace, "ended", ended), patch.object(Pace, "_next_step", next_step):
        yield


def floor_ahead() -> AbstractContextManager[Any]:
    """A floor that is set past rows which come due later: only a whole read finds them."""

    def set_floor(shard: OwnedShard, more: float | None, latest: datetime | None, highest: datetime) -> None:
        scans.set_floor(shard, more, latest, highest + timedelta(seconds=2))

    return patch.object(taking, "set_floor", set_floor)


def no_whole_reads() -> AbstractContextManager[Any]:
    """A shard that has a floor is never read whole again."""
    right = Scans._turn

    def turn(self: Scans, due: Sequence[OwnedShard], now: float) -> list[OwnedShard]:
        return [shard for shard in right(self, due, now) if shard.floor is None]

    return patch.object(Scans, "_turn", turn)


def sweep_looks_back_too_little() -> AbstractContextManager[Any]:
    """A sweep of news that looks back to the last one, at which what was taken just before it was too young."""

    def since(self: Sweeper, shards: Sequence[OwnedShard], now: float) -> timedelta:
        del self, shards, now
        return timedelta(seconds=SWEEP_EVERY)

    return patch.object(Sweeper, "_since", since)


def sweeps_at_claims_only() -> AbstractContextManager[Any]:
    """Shards are swept as they are claimed, and never again."""

    async def sweep_all(self: Sweeper, now: float) -> bool:
        del self, now
        return True

    return patch.object(Sweeper, "_sweep_all", sweep_all)


def put_off_for_ever() -> AbstractContextManager[Any]:
    """What is put off for a slow host does not come back the same day."""

    def deferral(self: Host, now: float) -> float:
        del self, now
        return timedelta(days=1).total_seconds()

    return patch.object(Host, "deferral", deferral)
