"""Bugs to plant, each in one place: the simulation has to find every one of them."""

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final
from unittest.mock import patch

from durable_timer.engine import ownership as engine_ownership
from durable_timer.engine.holdings import Job
from durable_timer.engine.membership import Membership
from durable_timer.engine.pacing import Pace
from durable_timer.engine.settling import Settler
from durable_timer.engine.store_time import StoreTime
from durable_timer.models.outcome import Outcome, OutcomeKind
from durable_timer.models.ownership import BeatAnswer, Claim, Member, MemberReport, Shard, ShardKey
from durable_timer.models.results import DeleteStatus, Refusal, Target, WhenRunning
from durable_timer.models.timer import Timer
from durable_timer.planning import assignment, transitions
from durable_timer.stores.base import Swept
from durable_timer.stores.memory import MemoryDatabase
from durable_timer.stores.memory import engine as store_engine
from durable_timer.stores.memory import ownership as store_ownership
from tests.simulation import planner


def claim_from_the_living() -> AbstractContextManager[Any]:
    """A claim that does not look whether the owner is dead."""

    def claim(db: MemoryDatabase, item: Claim, me: str) -> int | None:
        row = db.shards.get(ShardKey(item.group_id, item.shard))
        if row is None or row.epoch != item.epoch or not db.living(me):
            return None
        db.put_shard(replace(row, epoch=row.epoch + 1, owner=me))
        return row.epoch + 1

    return patch.object(store_ownership, "_claim", claim)


def death_whatever_the_counter() -> AbstractContextManager[Any]:
    """A death declared whatever the counter says by then."""

    def declare_dead(db: MemoryDatabase, incarnation: str, counter_seen: int) -> bool:
        row = db.members.get(incarnation)
        if row is not None:
            store_ownership._kill(db, row)
        return True

    return patch.object(store_ownership, "declare_dead", declare_dead)


def beat_of_the_dead() -> AbstractContextManager[Any]:
    """A beat that a dead member may make."""

    def beat(
        db: MemoryDatabase, incarnation: str, counter: int, *, draining: bool, report: MemberReport | None
    ) -> BeatAnswer | None:
        row = db.members.get(incarnation)
        if row is None:
            return None
        row.member = replace(row.member, beat=counter, draining=draining or row.member.draining)
        pool = row.member.pool
        return BeatAnswer(db.shards_token(pool), tuple(store_ownership.members(db, pool)))

    return patch.object(store_ownership, "beat", beat)


def no_run_token() -> AbstractContextManager[Any]:
    """A settle that does not ask for the run's token."""
    right = transitions.settled

    def settled(row: Timer | None, outcome: Outcome, now: datetime) -> Timer | Refusal | None:
        if row is not None and row.run is not None:
            outcome = replace(outcome, run=row.run)
        return right(row, outcome, now)

    return patch.object(transitions, "settled", settled)


def no_sweep() -> AbstractContextManager[Any]:
    """Nobody sweeps."""

    def sweep(*_: object, **__: object) -> Swept:
        return Swept({}, 0, 0)

    return patch.object(store_engine, "sweep", sweep)


def sweep_from_the_draining() -> AbstractContextManager[Any]:
    """A sweep that takes from an owner whose requests are still under way."""
    right = store_engine._is_lost

    def is_lost(db: MemoryDatabase, row: Timer, shard: Shard, *rest: Any, **named: Any) -> bool:
        return right(db, row, replace(shard, drains=()), *rest, **named)

    return patch.object(store_engine, "_is_lost", is_lost)


@contextlib.contextmanager
def draining_counts_as_living() -> Iterator[None]:
    """A draining member counts as living."""
    right_plan, right_rebalance = assignment.plan, assignment.rebalance

    def plan(members: Sequence[Member], shards: Sequence[Shard]) -> dict[ShardKey, str | None]:
        return right_plan([replace(member, draining=False) for member in members], shards)

    def rebalance(members: Sequence[Member], shards: Sequence[Shard]) -> dict[ShardKey, str | None]:
        return right_rebalance([replace(member, draining=False) for member in members], shards)

    with patch.object(engine_ownership, "plan", plan), patch.object(planner, "rebalance", rebalance):
        yield


def release_keeps_unsent() -> AbstractContextManager[Any]:
    """A release that keeps its unsent rows: forgotten here, and still marked as running in the store."""

    async def give_back(self: Settler, jobs: Sequence[Job]) -> None:
        for job in jobs:
            job.dropped = True
            self._holdings.remove(job)

    return patch.object(Settler, "give_back", give_back)


def outages_end_drains() -> AbstractContextManager[Any]:
    """A drain that ends while the store is away, so that nobody can settle."""
    return patch.object(Membership, "steady", lambda _: float("inf"))


def sweep_of_the_held() -> AbstractContextManager[Any]:
    """A sweep that takes what the sweeper itself holds."""
    right = store_engine.sweep

    def sweep(
        db: MemoryDatabase, claims: Sequence[Claim], me: str, held: Collection[int], *rest: Any, **named: Any
    ) -> Swept:
        return right(db, claims, me, (), *rest, **named)

    return patch.object(store_engine, "sweep", sweep)


def trust_from_the_answer() -> AbstractContextManager[Any]:
    """Trust dated at the answer's arrival instead of the beat's sending."""
    right = Membership._beat

    async def beat(self: Membership) -> None:
        before = self._trusted_until
        await right(self)
        if self._trusted_until not in (before, float("-inf")):
            self._trusted_until = self._clock.monotonic() + self._settings.trust

    return patch.object(Membership, "_beat", beat)


def wake_up_lost() -> AbstractContextManager[Any]:
    """Wake-ups that never come."""

    def wake(self: MemoryDatabase, group_id: str, shards: Collection[int]) -> None:
        """Tells nobody."""

    return patch.object(MemoryDatabase, "wake", wake)


def cancel_ignores_running() -> AbstractContextManager[Any]:
    """A cancel that deletes a running timer."""
    right = transitions.deleted

    def deleted(
        row: Timer | None, target: Target, when_running: WhenRunning, *, managed: bool
    ) -> DeleteStatus | Refusal:
        decision = right(row, target, when_running, managed=managed)
        return DeleteStatus.DELETED if decision is Refusal.EXECUTING else decision

    return patch.object(transitions, "deleted", deleted)


def recovery_counts_an_attempt() -> AbstractContextManager[Any]:
    """An attempt counted by recovery."""
    right = transitions.recovered

    def recovered(row: Timer, now: datetime) -> Timer | None:
        return right(replace(row, attempt=row.attempt + 1), now)

    return patch.object(transitions, "recovered", recovered)


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


PLANTED: Final[dict[str, Callable[[], AbstractContextManager[Any]]]] = {
    plant.__name__: plant
    for plant in (
        claim_from_the_living,
        death_whatever_the_counter,
        beat_of_the_dead,
        no_run_token,
        no_sweep,
        sweep_from_the_draining,
        outages_end_drains,
        draining_counts_as_living,
        release_keeps_unsent,
        sweep_of_the_held,
        trust_from_the_answer,
        wake_up_lost,
        cancel_ignores_running,
        recovery_counts_an_attempt,
        next_as_a_duration,
        step_back_unnoticed,
        backlog_starves,
    )
}
"""By name, what plants each bug while its context lasts."""

WEATHER_FOR: Final = {
    "claim_from_the_living": "crowds",
    "death_whatever_the_counter": "naps",
    "beat_of_the_dead": "storms",
    "no_run_token": "storms",
    "no_sweep": "kills",
    "sweep_from_the_draining": "none",
    "outages_end_drains": "outages",
    "draining_counts_as_living": "none",
    "release_keeps_unsent": "none",
    "sweep_of_the_held": "none",
    "trust_from_the_answer": "naps",
    "wake_up_lost": "none",
    "cancel_ignores_running": "none",
    "recovery_counts_an_attempt": "kills",
    "next_as_a_duration": "none",
    "step_back_unnoticed": "mixed",
    "backlog_starves": "none",
}
"""The weather in which each bug shows soonest."""

FOUND: Final = {
    "backlog_starves": 2,
    "beat_of_the_dead": 0,
    "cancel_ignores_running": 2,
    "claim_from_the_living": 28,
    "death_whatever_the_counter": 3,
    "draining_counts_as_living": 0,
    "next_as_a_duration": 0,
    "no_run_token": 0,
    "no_sweep": 0,
    "outages_end_drains": 14807,
    "recovery_counts_an_attempt": 0,
    "release_keeps_unsent": 3,
    "step_back_unnoticed": 0,
    "sweep_from_the_draining": 0,
    "sweep_of_the_held": 0,
    "trust_from_the_answer": 10,
    "wake_up_lost": 0,
}
"""The seed that found each bug in its weather when this was written; `--survey` finds those of today."""
