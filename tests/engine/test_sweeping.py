"""Whole sweeps at a claim and once a minute, what is new each second, in pieces that are answered soon."""

import asyncio
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from durable_timer.engine.agenda import Agenda, OwnedShard
from durable_timer.engine.groups import GroupRuntime
from durable_timer.engine.settings import EngineSettings
from durable_timer.engine.sweeping import PIECE_TIME, WHOLE_EVERY, Sweeper
from durable_timer.errors import StoreUnavailable
from durable_timer.metrics import Metrics
from durable_timer.models.group import Group, GroupState, TimerGroupSpec
from durable_timer.models.ownership import Claim, ShardKey
from durable_timer.stores.base import Swept
from tests.simulation.loop import Process, VirtualLoop

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SHARDS = 16


class SlowStore:
    """Answers a sweep of whole shards after so many seconds for each, and notes all calls."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self.each = 0.0
        self.broken = False
        self.calls: list[tuple[float, int, timedelta | None]] = []

    async def sweep(
        self,
        claims: Sequence[Claim],
        me: str,
        held: Collection[int],
        own_age: timedelta,
        limit: int,
        within: timedelta | None = None,
    ) -> Swept:
        self.calls.append((self.loop.time(), len(claims), within))
        if self.broken:
            raise StoreUnavailable("away")
        await asyncio.sleep(self.each * len(claims) if within is None else 0.0)
        return Swept({}, 0, 0)

    def whole(self) -> list[int]:
        """How many shards each call for whole ones named."""
        return [count for _, count, within in self.calls if within is None]

    def news(self) -> list[tuple[float, timedelta]]:
        """When the others were, and how far back they looked."""
        return [(at, within) for at, _, within in self.calls if within is not None]


class Bench:
    """A sweeper of claimed shards, in virtual time."""

    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.store = SlowStore(self.loop)
        agenda = Agenda()
        runtime = GroupRuntime(
            Group("g", "file:g", SHARDS, "default", TimerGroupSpec(), 1, GroupState.ACTIVE, NOW, None, 1)
        )
        self.shards = [OwnedShard(ShardKey("g", number), 1, runtime) for number in range(SHARDS)]
        for shard in self.shards:
            agenda.add(shard, 0.0)
        parts: Any = {
            "store": self.store,
            "clock": SimpleNamespace(monotonic=self.loop.time, now=lambda: NOW),
            "settings": EngineSettings(name="executor"),
            "membership": SimpleNamespace(incarnation="me"),
            "agenda": agenda,
            "holdings": SimpleNamespace(runs=list),
            "taking": SimpleNamespace(look_now=lambda _: None),
            "metrics": Metrics(),
        }
        self.sweeper = Sweeper(**parts)

    def play(self, seconds: float) -> None:
        self.loop.run_until(lambda: False, self.loop.time() + seconds)

    def start(self) -> None:
        self.running = self.loop.spawn(Process("executor"), self.sweeper.run(), "sweep")

    def once(self) -> None:
        """Sweeps all shards as at a claim."""
        task = self.loop.spawn(Process("claim"), self.sweeper.sweep(self.shards), "claim")
        self.loop.run_until(task.done, self.loop.time() + 100.0)
        task.result()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.loop.dispose()


def test_a_claims_sweep_is_whole_and_those_each_second_look_back_to_the_one_before(bench: Bench) -> None:
    bench.once()
    bench.start()
    bench.play(10.5)
    assert bench.store.whole() == [SHARDS]
    news = bench.store.news()
    assert [round(at) for at, _ in news] == list(range(1, 11))
    age = EngineSettings(name="executor").statement_timeout + 1
    assert all(timedelta(seconds=age + 1) < within <= timedelta(seconds=age + 2.5) for _, within in news)


def test_after_a_time_without_the_store_it_looks_back_to_the_last_that_was_answered(bench: Bench) -> None:
    bench.once()
    bench.start()
    bench.play(5.5)
    bench.store.broken = True
    bench.play(20.0)
    bench.store.broken = False
    bench.store.calls.clear()
    bench.play(1.5)
    [(_, within), *_] = bench.store.news()
    assert within > timedelta(seconds=20.0)


def test_whole_again_once_a_minute(bench: Bench) -> None:
    bench.once()
    bench.start()
    bench.play(3 * WHOLE_EVERY + 5)
    assert bench.store.whole() == [SHARDS] * 4


def test_where_it_is_slow_whole_sweeps_go_in_pieces_and_all_shards_have_their_turn(bench: Bench) -> None:
    bench.once()
    bench.store.each = PIECE_TIME / 3
    bench.once()
    bench.store.calls.clear()
    bench.once()
    assert max(bench.store.whole()) == 3
    assert sum(bench.store.whole()) == SHARDS


def test_a_piece_that_is_not_answered_in_time_is_halved(bench: Bench) -> None:
    bench.store.each = 0.3
    sizes = []
    for _ in range(3):
        try:
            bench.once()
        except TimeoutError:
            sizes.append(bench.store.whole()[-1])
    assert sizes == [16, 8]
    assert sum(bench.store.whole()[2:]) == SHARDS


def test_while_it_is_slow_it_rests(bench: Bench) -> None:
    bench.start()
    bench.play(5.0)
    bench.store.each = 0.1
    for shard in bench.shards:
        shard.swept_whole_at = float("-inf")
    bench.play(100.0)
    spent = sum(count * 0.1 for at, count, within in bench.store.calls if within is None and at > 5.0)
    assert spent <= 2 * SHARDS * 0.1 + 1e-6
