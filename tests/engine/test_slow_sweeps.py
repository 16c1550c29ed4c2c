"""Claims and hand-overs beside sweeps that are slow or hang: neither waits for them long, and nothing is left out."""

import asyncio
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import count
from types import SimpleNamespace

import pytest

from durable_timer.engine.agenda import OwnedShard
from durable_timer.engine.executor import Executor
from durable_timer.engine.ownership import FOLLOW_LIMIT
from durable_timer.errors import StoreUnavailable
from durable_timer.models.ownership import Claim
from durable_timer.models.timer import TimerState
from durable_timer.planning.sharding import shard_of
from durable_timer.stores.base import Swept, TakeGroup, Taken
from tests.engine.conftest import Rig
from tests.support.waiting import eventually

SHARDS = 16


def _one_of_each_shard() -> Iterator[str]:
    for shard in range(SHARDS):
        yield next(name for name in (f"t{number}" for number in count()) if shard_of(name, SHARDS) == shard)


def _slow_sweeps(executor: Executor, each: float) -> None:
    """Sweeps of whole shards take so many seconds for each shard from now on."""
    right = executor._store.sweep

    async def sweep(
        claims: Sequence[Claim],
        me: str,
        held: Collection[int],
        own_age: timedelta,
        limit: int,
        within: timedelta | None = None,
        *,
        drains_over: datetime | None,
    ) -> Swept:
        if within is None:
            await asyncio.sleep(each * len(claims))
        return await right(claims, me, held, own_age, limit, within, drains_over=drains_over)

    executor._store.sweep = sweep  # type: ignore[method-assign]


async def test_shards_are_handed_over_though_sweeps_of_whole_ones_are_slow(rig: Rig) -> None:
    await rig.group(shards=SHARDS)
    one = await rig.start()
    _slow_sweeps(one, 0.5)
    two = await rig.start_unowned()
    _slow_sweeps(two, 0.5)
    await eventually(lambda: rig.owned(one) == rig.owned(two) == SHARDS // 2, 4)
    for name in _one_of_each_shard():
        await rig.create(name)
    for name in _one_of_each_shard():
        await rig.becomes(name, TimerState.COMPLETED, 2)


async def test_what_a_take_left_behind_is_recovered_at_the_hand_over(rig: Rig) -> None:
    await rig.group(shards=SHARDS)
    one = await rig.start()
    right = one._store.take_due
    taken = asyncio.Event()

    async def take_unanswered(groups: Sequence[TakeGroup], me: str, ahead: timedelta, run: int) -> Taken:
        answer = await right(groups, me, ahead, run)
        if answer.timers:
            taken.set()
            raise StoreUnavailable("the answer is lost")
        return answer

    one._store.take_due = take_unanswered  # type: ignore[method-assign]
    await rig.create("t")
    await taken.wait()
    await rig.stop(one)
    row = await rig.row("t")
    assert row is not None
    assert row.state is TimerState.PENDING


async def test_a_claim_is_taken_from_before_its_sweep_ends_and_swept_again_when_that_is_cut_off(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.targets.by_host["stuck"] = lambda request: asyncio.Event().wait()  # type: ignore[assignment, return-value]
    await rig.group(shards=SHARDS)
    one = await rig.start()
    await rig.create("taken", "http://stuck/x")
    await eventually(lambda: rig.targets.under_way == 1)
    two = await rig.start_unowned()
    await eventually(lambda: rig.owned(two) == SHARDS // 2)
    began, cut_off, asked = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def sweep(shards: Sequence[OwnedShard]) -> bool:
        began.set()
        try:
            return await asyncio.Event().wait()
        finally:
            cut_off.set()

    monkeypatch.setattr(two._ownership, "_sweeper", SimpleNamespace(sweep=sweep, soon=asked.set))
    await rig.kill(one)
    del rig.targets.by_host["stuck"]
    names = list(_one_of_each_shard())
    for name in names:
        await rig.create(name)
    assert not began.is_set()
    await began.wait()
    for name in names:
        await rig.becomes(name, TimerState.COMPLETED, 5)
    assert not cut_off.is_set()
    async with asyncio.timeout(FOLLOW_LIMIT + 2):
        await asked.wait()
    await rig.becomes("taken", TimerState.COMPLETED, 5)
