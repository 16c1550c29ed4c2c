"""Whole sweeps at a claim and once a minute, what is new each second, in pieces that are answered soon."""

import asyncio
from collections.abc import Collection, Coroutine, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, NamedTuple, TypeVar

import pytest

from durable_timer.engine.agenda import Agenda, OwnedShard
from durable_timer.engine.groups import GroupRuntime
from durable_timer.engine.pieces import PIECE_TIME
from durable_timer.engine.settings import EngineSettings
from durable_timer.engine.sweeping import DRAIN_MARGIN, EVENTFUL_FOR, HAND_OVER_TIME, SWEEP_LIMIT, WHOLE_EVERY, Sweeper
from durable_timer.errors import StoreUnavailable
from durable_timer.metrics import Metrics
from durable_timer.models.group import Group, GroupState, TimerGroupSpec
from durable_timer.models.ownership import Claim, ShardKey
from durable_timer.stores.base import Swept
from tests.simulation.loop import Process, VirtualLoop

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SHARDS = 16
AGE = timedelta(seconds=EngineSettings(name="executor").statement_timeout + 1)
NOTHING = Swept({}, 0, 0)
T = TypeVar("T")


class Call(NamedTuple):
    """One that the store was asked."""

    at: float
    shards: tuple[int, ...]
    own_age: timedelta
    within: timedelta | None
    drains_over: datetime | None


class SlowStore:
    """Answers a sweep of whole shards after so many seconds for each, and notes all calls."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self.each = 0.0
        self.each_news = 0.0
        self.broken = False
        self.stuck: frozenset[int] = frozenset()
        self.stuck_news: frozenset[int] = frozenset()
        self.said = NOW
        self.answers: list[Swept] = []
        self.calls: list[Call] = []

    async def sweep(
        self,
        claims: Sequence[Claim],
        me: str,
        held: Collection[int],
        own_age: timedelta,
        limit: int,
        within: timedelta | None = None,
        *,
        drains_over: datetime | None,
    ) -> Swept:
        shards = tuple(claim.shard for claim in claims)
        self.calls.append(Call(self.loop.time(), shards, own_age, within, drains_over))
        if self.broken:
            raise StoreUnavailable("away")
        if not (self.stuck if within is None else self.stuck_news).isdisjoint(shards):
            await asyncio.Event().wait()
        await asyncio.sleep((self.each if within is None else self.each_news) * len(claims))
        return self.answers.pop(0) if self.answers else NOTHING

    async def now(self) -> datetime:
        return self.said

    def whole(self) -> list[int]:
        """How many shards each call for whole ones named."""
        return [len(call.shards) for call in self.calls if call.within is None]

    def news(self) -> list[tuple[float, timedelta]]:
        """When the others were, and how far back they looked."""
        return [(call.at, call.within) for call in self.calls if call.within is not None]


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
        self.looks: list[OwnedShard] = []
        self.steady = 60.0
        self.taking = SimpleNamespace(look_now=self.looks.append, given_up_at=None)
        parts: Any = {
            "store": self.store,
            "clock": SimpleNamespace(monotonic=self.loop.time, now=lambda: NOW),
            "settings": EngineSettings(name="executor"),
            "membership": SimpleNamespace(incarnation="me", steady=lambda: self.steady),
            "agenda": agenda,
            "holdings": SimpleNamespace(runs=list),
            "taking": self.taking,
            "metrics": Metrics(),
        }
        self.sweeper = Sweeper(**parts)

    def play(self, seconds: float) -> None:
        self.loop.run_until(lambda: False, self.loop.time() + seconds)

    def start(self) -> None:
        self.running = self.loop.spawn(Process("executor"), self.sweeper.run(), "sweep")

    def ends(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs something beside the sweeper, to its end."""
        task = self.loop.spawn(Process("claim"), work, "claim")
        self.loop.run_until(task.done, self.loop.time() + 100.0)
        return task.result()

    def once(self) -> bool:
        """Sweeps all shards as at a claim."""
        return self.ends(self.sweeper.sweep(self.shards))


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
    assert all(AGE + timedelta(seconds=1) < within <= AGE + timedelta(seconds=2.5) for _, within in news)


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
    assert [bench.once(), bench.once(), bench.once()] == [False, False, True]
    assert bench.store.whole()[:2] == [16, 8]
    assert sum(bench.store.whole()[2:]) == SHARDS


def test_while_it_is_slow_it_rests(bench: Bench) -> None:
    bench.start()
    bench.play(5.0)
    bench.store.each = 0.1
    for shard in bench.shards:
        shard.swept_whole_at = float("-inf")
    bench.play(100.0)
    spent = sum(len(call.shards) * 0.1 for call in bench.store.calls if call.within is None and call.at > 5.0)
    assert spent <= 2 * SHARDS * 0.1 + 1e-6


def test_a_shard_whose_whole_sweep_always_fails_keeps_no_other_from_being_swept(bench: Bench) -> None:
    bench.once()
    bench.start()
    bench.store.stuck = frozenset({0})
    bench.play(WHOLE_EVERY + 60.0)
    bench.store.calls.clear()
    bench.play(2 * WHOLE_EVERY)
    tried = [call for call in bench.store.calls if call.within is None]
    assert {number for call in tried if 0 not in call.shards for number in call.shards} == set(range(1, SHARDS))
    assert {call.shards for call in tried if 0 in call.shards} == {(0,)}
    assert len([call for call in tried if 0 in call.shards]) <= 10
    news = [call for call in bench.store.calls if call.within is not None]
    assert {call.shards for call in news} == {tuple(range(SHARDS))}
    assert max(after.at - before.at for before, after in pairwise(news)) <= 3.5
    assert len(news) >= 90


def test_what_is_new_comes_in_pieces_too_where_the_store_makes_it_whole(bench: Bench) -> None:
    bench.once()
    bench.store.each_news = 0.3
    bench.start()
    bench.play(30.0)
    bench.store.calls.clear()
    bench.play(30.0)
    news = [call for call in bench.store.calls if call.within is not None]
    assert {len(call.shards) for call in news} == {1}
    assert {number for call in news for number in call.shards} == set(range(SHARDS))


def test_a_claim_whose_whole_sweep_fails_is_at_least_looked_at_for_what_was_taken_lately(bench: Bench) -> None:
    bench.store.stuck = frozenset({0})
    assert not bench.once()
    bench.start()
    bench.sweeper.soon()
    bench.play(0.5)
    [(_, within)] = bench.store.news()
    assert within > timedelta(seconds=WHOLE_EVERY)


def test_where_other_writers_had_locked_some_it_looks_again_a_second_later(bench: Bench) -> None:
    bench.store.answers = [Swept({("g", 3): 990}, 0, SWEEP_LIMIT), Swept({("g", 3): 4}, 0, 5)]
    bench.once()
    bench.start()
    bench.play(1.5)
    assert bench.store.whole() == [SHARDS] * 3
    bench.store.answers = [Swept({}, 0, 1)]
    bench.play(2.0)
    bench.play(10.0)
    lengths = [round((within - AGE).total_seconds()) - 1 for _, within in bench.store.news()]
    assert lengths[:4] == [1, 2, 1, 1]
    assert bench.store.whole() == [SHARDS] * 3


def test_it_does_not_ask_on_and_on_for_what_others_have_locked(bench: Bench) -> None:
    bench.store.answers = [Swept({}, 0, SWEEP_LIMIT)] * 100
    bench.once()
    assert bench.store.whole() == [SHARDS]


def test_it_looks_back_to_the_oldest_take_that_was_given_up(bench: Bench) -> None:
    bench.once()
    bench.start()
    bench.play(20.0)
    bench.taking.given_up_at = bench.loop.time() - 12.0
    bench.store.calls.clear()
    bench.play(1.5)
    [(_, within), *_] = bench.store.news()
    assert within >= timedelta(seconds=12.0) + AGE


def test_what_a_failed_sweep_may_have_recovered_is_looked_at(bench: Bench) -> None:
    bench.store.broken = True
    bench.once()
    assert bench.looks == bench.shards


def test_a_hand_over_waits_a_second_for_its_sweep_of_what_was_taken_lately(bench: Bench) -> None:
    bench.once()
    bench.play(2.0)
    bench.store.calls.clear()
    bench.store.each_news = 1.0
    began = bench.loop.time()
    bench.ends(bench.sweeper.sweep_own(bench.shards))
    assert bench.loop.time() - began == pytest.approx(HAND_OVER_TIME, abs=0.01)
    [call] = bench.store.calls
    assert call.own_age == timedelta(0)
    assert call.within is not None
    assert timedelta(seconds=2.9) + AGE < call.within < timedelta(seconds=3.1) + AGE


def test_a_hand_over_needs_no_answer_to_its_sweep(bench: Bench) -> None:
    bench.store.broken = True
    bench.ends(bench.sweeper.sweep_own(bench.shards))
    assert len(bench.store.news()) == 1
    bench.ends(bench.sweeper.sweep_own([]))
    assert len(bench.store.news()) == 1


def test_it_rests_when_it_is_slow_again_and_again_and_not_for_a_slow_call_or_two(bench: Bench) -> None:
    bench.once()
    bench.start()
    bench.play(5.5)
    bench.store.each_news = 0.05
    bench.play(4.5)
    bench.store.each_news = 0.0
    bench.store.calls.clear()
    bench.play(10.0)
    assert len(bench.store.news()) >= 9
    bench.store.each_news = 0.05
    bench.play(30.0)
    bench.store.calls.clear()
    bench.play(60.0)
    assert sum(len(call.shards) for call in bench.store.calls) <= 6 * SHARDS


def test_no_drain_is_over_before_the_store_answered_for_a_while(bench: Bench) -> None:
    bench.steady = DRAIN_MARGIN - 0.1
    bench.start()
    bench.play(3.5)
    assert {call.drains_over for call in bench.store.calls} == {None}
    bench.steady = DRAIN_MARGIN
    bench.play(1.0)
    first, bench.store.said = bench.store.said, NOW + timedelta(hours=1)
    assert bench.store.calls[-1].drains_over == first
    bench.steady = 0.0
    bench.play(2 * DRAIN_MARGIN)
    assert bench.store.calls[-1].drains_over == first
    bench.steady = DRAIN_MARGIN
    bench.play(2.0)
    assert bench.store.calls[-1].drains_over == bench.store.said


def test_what_is_over_at_last_is_looked_for_in_whole_shards(bench: Bench) -> None:
    """Its rows are older than what a narrow sweep looks at."""
    bench.start()
    bench.play(2.0)
    bench.steady = 0.0
    bench.play(10.0)
    bench.store.said = NOW + timedelta(minutes=1)
    bench.store.calls.clear()
    bench.steady = DRAIN_MARGIN
    bench.play(2.0)
    assert bench.store.whole() == [SHARDS]


def test_a_shard_whose_narrow_sweep_fails_alone_rests_too(bench: Bench) -> None:
    """It is a whole one where an owner departed lately."""
    bench.start()
    bench.play(1.5)
    bench.store.stuck_news = frozenset({0})
    bench.play(60.0)
    tries = sum(call.shards == (0,) and call.within is not None for call in bench.store.calls)
    assert 1 <= tries <= 8


def test_in_calm_it_is_rare_and_after_an_event_each_second_again(bench: Bench) -> None:
    bench.once()
    bench.start()
    bench.play(EVENTFUL_FOR + 1)
    bench.store.calls.clear()
    bench.play(50.0)
    assert 9 <= len(bench.store.news()) <= 11
    bench.store.calls.clear()
    bench.taking.given_up_at = bench.loop.time()
    bench.play(2.0)
    bench.taking.given_up_at = None
    bench.play(EVENTFUL_FOR - 5)
    assert len(bench.store.news()) >= EVENTFUL_FOR - 6
    bench.play(20.0)
    bench.store.calls.clear()
    bench.store.answers = [Swept({("g", 0): 1}, 0, 1)]
    bench.play(20.0)
    assert len(bench.store.news()) >= 14


def test_a_change_of_members_asks_for_a_sweep_at_once(bench: Bench) -> None:
    """A member that drained may have died."""
    bench.once()
    bench.start()
    bench.play(EVENTFUL_FOR + 1)
    bench.store.calls.clear()
    bench.sweeper.soon()
    bench.play(0.1)
    assert len(bench.store.news()) == 1
