"""Bugs to plant in the store and in the rules of states, each in one place."""

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from typing import Any
from unittest.mock import patch

from durable_timer.models.outcome import Outcome
from durable_timer.models.ownership import BeatAnswer, Claim, MemberReport, Shard, ShardKey
from durable_timer.models.results import DeleteStatus, Refusal, Target, WhenRunning
from durable_timer.models.timer import Timer
from durable_timer.planning import transitions
from durable_timer.stores.base import Swept
from durable_timer.stores.memory import MemoryDatabase
from durable_timer.stores.memory import engine as store_engine
from durable_timer.stores.memory import ownership as store_ownership


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


def outages_end_drains() -> AbstractContextManager[Any]:
    """A drain that ends while the store is away, so that nobody can settle."""
    right = store_engine._is_lost

    def is_lost(db: MemoryDatabase, row: Timer, shard: Shard, now: datetime, *rest: Any, **named: Any) -> bool:
        return right(db, row, shard, now, *rest, **named | {"drains_over": now})

    return patch.object(store_engine, "_is_lost", is_lost)


def sweep_of_the_held() -> AbstractContextManager[Any]:
    """A sweep that takes what the sweeper itself holds."""
    right = store_engine.sweep

    def sweep(
        db: MemoryDatabase, claims: Sequence[Claim], me: str, held: Collection[int], *rest: Any, **named: Any
    ) -> Swept:
        return right(db, claims, me, (), *rest, **named)

    return patch.object(store_engine, "sweep", sweep)


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
