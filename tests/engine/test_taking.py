"""The take loop beside reads that are slow or never answered, groups without room, and rows that others have locked."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from durable_timer.engine.agenda import Agenda, OwnedShard
from durable_timer.engine.groups import GroupRuntime
from durable_timer.engine.holdings import Job
from durable_timer.engine.scans import LATE_COMMIT
from durable_timer.engine.settings import EngineSettings
from durable_timer.engine.taking import GIVEN_UP_FOR, TakeLoop
from durable_timer.errors import StatementTimeout, StoreUnavailable
from durable_timer.metrics import Metrics
from durable_timer.models.group import Group, GroupState, TimerGroupSpec
from durable_timer.models.ownership import ShardKey
from durable_timer.models.timer import TakenTimer
from durable_timer.stores.base import Capabilities, TakeGroup, Taken
from tests.simulation.loop import Process, VirtualLoop

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
AT_MOST = 2.0
"""Seconds after which the store ends a statement."""


class HeldStore:
    """Timers by shard. A read without floor costs what is set for its shard, and fails where that is too long."""

    capabilities = Capabilities(name="held")

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self.each: Callable[[ShardKey], float] = lambda _: 0.0
        self.away = False
        self.lossy = False
        self.pending: dict[ShardKey, list[datetime]] = defaultdict(list)
        self.locked: dict[ShardKey, datetime] = {}
        self.named: list[tuple[float, dict[ShardKey, datetime | None]]] = []

    async def now(self) -> datetime:
        if self.away:
            await asyncio.sleep(AT_MOST)
            raise StoreUnavailable("away")
        return self.time

    @property
    def time(self) -> datetime:
        return EPOCH + timedelta(seconds=self.loop.time())

    async def take_due(self, groups: Sequence[TakeGroup], me: str, ahead: timedelta, run: int) -> Taken:
        floors = {ShardKey(g.group_id, s.shard): s.floor for g in groups for s in g.shards}
        self.named.append((self.loop.time(), floors))
        began = self.time
        seconds = 0.001 + sum(self.each(key) for key, floor in floors.items() if floor is None)
        await asyncio.sleep(min(seconds, AT_MOST))
        if self.away or self.lossy:
            await asyncio.sleep(AT_MOST)
            raise StoreUnavailable("away")
        if seconds > AT_MOST:
            raise StatementTimeout("canceling statement")
        timers: list[TakenTimer] = []
        next_due = [self._take(group, began, ahead, run, timers) for group in groups]
        return Taken(timers, next_due, began)

    def _take(
        self, group: TakeGroup, now: datetime, ahead: timedelta, run: int, timers: list[TakenTimer]
    ) -> list[float | None]:
        """As the store in PostgreSQL: a row that another writer has is passed by, and its shard has more."""
        left = group.limit
        waits: list[float | None] = []
        for shard in group.shards:
            key = ShardKey(group.group_id, shard.shard)
            rows = sorted(at for at in self.pending[key] if shard.floor is None or at >= shard.floor)
            near = [at for at in rows if at <= now + ahead][:left]
            taken = [at for at in near if at != self.locked.get(key)]
            for at in taken:
                self.pending[key].remove(at)
                timers.append(_taken(key, at, (at - now).total_seconds(), run))
            left -= len(taken)
            rest = [(at - now).total_seconds() for at in rows if at not in near]
            waits.append(0.0 if len(taken) < len(near) else rest[0] if rest else None)
        return waits


def _taken(key: ShardKey, due_at: datetime, remaining: float, run: int) -> TakenTimer:
    return TakenTimer(
        group_id=key.group_id,
        timer_id="t",
        shard=key.shard,
        run=run,
        uid=1,
        occurrence=1,
        attempt=0,
        execute_at=due_at,
        due_at=due_at,
        remaining=remaining,
        callback_url="http://target/x",
    )


class Bench:
    """A take loop in virtual time; what it takes is settled at once, save in groups that are `stuck`."""

    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.store = HeldStore(self.loop)
        self.agenda = Agenda()
        self.stuck: set[str] = set()
        self.fired: dict[ShardKey, list[tuple[float, datetime]]] = defaultdict(list)
        parts: Any = {
            "store": self.store,
            "clock": SimpleNamespace(monotonic=self.loop.time, now=lambda: self.store.time),
            "rng": random.Random(1),
            "settings": EngineSettings(name="executor"),
            "membership": SimpleNamespace(incarnation="me", answered=asyncio.Event()),
            "steady": lambda: True,
            "agenda": self.agenda,
            "metrics": Metrics(),
            "accept": self._accept,
        }
        self.taking = TakeLoop(**parts)

    def _accept(self, job: Job, now: datetime) -> None:
        self.fired[job.key].append((self.loop.time(), job.timer.due_at))
        if job.key.group_id not in self.stuck:
            self.loop.call_soon(self.taking.holdings.remove, job)

    def claim(self, group_id: str, shards: int, **callback: int) -> list[OwnedShard]:
        spec = TimerGroupSpec.model_validate({"shards": shards, "callback": callback})
        group = GroupRuntime(
            Group(group_id, f"file:{group_id}", shards, "default", spec, 1, GroupState.ACTIVE, EPOCH, None, 1)
        )
        group.owned = shards
        owned = [OwnedShard(ShardKey(group_id, number), 1, group) for number in range(shards)]
        for shard in owned:
            self.agenda.add(shard, self.loop.time())
        return owned

    def start(self) -> None:
        self.running = self.loop.spawn(Process("executor"), self.taking.run(), "take")

    def play(self, seconds: float) -> None:
        end = self.loop.time() + seconds
        self.loop.call_exactly(seconds, lambda: None)
        self.loop.run_until(lambda: self.loop.time() >= end, end)
        assert not self.running.done()

    def create(self, key: ShardKey, ago: float = 0.0) -> datetime:
        """A timer that is due now, or was so long ago, and nobody wakes for."""
        due_at = self.store.time - timedelta(seconds=ago)
        self.store.pending[key].append(due_at)
        return due_at

    def scans(self, key: ShardKey) -> list[float]:
        return [at for at, floors in self.store.named if floors.get(key, EPOCH) is None]

    def lateness(self) -> dict[ShardKey, float]:
        """The longest from due to taken."""
        return {
            key: max(at - (due_at - EPOCH).total_seconds() for at, due_at in fired) for key, fired in self.fired.items()
        }


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.loop.dispose()


def _load(bench: Bench, shards: Sequence[OwnedShard], seconds: float) -> None:
    """Three timers a second in each shard, and a wake-up for each."""
    end = bench.loop.time() + seconds
    while bench.loop.time() < end:
        for shard in shards:
            bench.create(shard.key)
            bench.taking.woken(shard.key.group_id, {shard.key.shard})
        bench.play(1 / 3)


def test_new_timers_fire_though_no_shard_can_be_read_whole(bench: Bench) -> None:
    bench.store.each = lambda _: 3.0
    shards = bench.claim("g", 16)
    bench.start()
    bench.play(3.0)
    _load(bench, shards, 120.0)
    bench.play(5.0)
    assert not any(bench.store.pending.values())
    assert max(bench.lateness().values()) < 3.0


def test_one_shard_that_cannot_be_read_whole_holds_up_no_other(bench: Bench) -> None:
    bench.store.each = lambda key: 3.0 * (key.shard == 0)
    shards = bench.claim("g", 4)
    bench.start()
    bench.play(3.0)
    _load(bench, shards, 120.0)
    bench.play(5.0)
    assert set(bench.lateness()) == {shard.key for shard in shards}
    late = [at - (due - EPOCH).total_seconds() > 0.2 for fired in bench.fired.values() for at, due in fired]
    assert max(bench.lateness().values()) < 3.0
    assert sum(late) < 0.25 * len(late)
    assert all(len(bench.scans(shard.key)) > 60 for shard in shards[1:])


def test_takes_that_get_lost_on_the_way_are_no_fault_of_the_shards(bench: Bench) -> None:
    """The store answers other calls: what waits below the floors is looked for as soon as takes are answered again."""
    shards = bench.claim("g", 4)
    bench.start()
    bench.play(3.0)
    bench.store.lossy = True
    for shard in shards:
        bench.create(shard.key, ago=3600.0)
        bench.taking.look_now(shard)
    bench.play(10.0)
    bench.store.lossy = False
    bench.play(5.0)
    assert not any(bench.store.pending.values())


def test_a_backlog_waits_for_a_read_that_succeeds_and_new_timers_do_not(bench: Bench) -> None:
    bench.store.each = lambda _: 3.0
    [shard] = bench.claim("g", 1)
    old = bench.create(shard.key, ago=3600.0)
    bench.start()
    bench.play(10.0)
    assert not bench.fired
    bench.store.each = lambda _: 0.01
    bench.play(20.0)
    assert [due_at for _, due_at in bench.fired[shard.key]] == [old]


def test_where_the_store_itself_is_away_the_first_read_after_it_is_whole(bench: Bench) -> None:
    [shard] = bench.claim("g", 1)
    bench.store.away = True
    bench.start()
    bench.play(60.0)
    bench.store.away = False
    bench.create(shard.key, ago=3600.0)
    bench.play(6.0)
    assert len(bench.fired[shard.key]) == 1


def test_what_was_recovered_is_found_soon_after_one_take_that_was_not_answered(bench: Bench) -> None:
    shards = bench.claim("g", 4)
    bench.start()
    bench.play(10.5)
    bench.store.each = lambda _: 3.0
    bench.play(2.0)
    bench.store.each = lambda _: 0.0
    bench.create(shards[0].key, ago=5.0)
    bench.taking.look_now(shards[0])
    bench.play(2.0)
    assert len(bench.fired[shards[0].key]) == 1


def test_shards_that_are_read_slowly_do_not_shut_the_others_out(bench: Bench) -> None:
    shards = bench.claim("g", 16)
    bench.start()
    bench.play(3.0)
    bench.store.each = lambda _: 0.3
    bench.play(20.0)
    bench.fired.clear()
    for shard in shards[1:]:
        bench.taking.look_now(shard)
    _load(bench, shards, 30.0)
    assert max(bench.lateness().values()) < 1.0
    assert all(bench.scans(shard.key)[-1] > 23.0 for shard in shards)


def test_shards_of_a_full_group_keep_no_turn_from_others_and_the_loop_does_not_spin(bench: Bench) -> None:
    bench.stuck.add("full")
    full = bench.claim("full", 256, maxInFlight=1)
    [other] = bench.claim("other", 1)
    bench.store.each = lambda _: 0.01
    bench.create(full[0].key)
    bench.start()
    bench.play(10.0)
    assert len(bench.fired[full[0].key]) == 1
    chosen: Counter[str] = Counter()
    choose = bench.taking._scans.choose

    def count(due: Sequence[OwnedShard], now: float) -> tuple[list[OwnedShard], list[OwnedShard]]:
        chosen["calls"] += 1
        return choose(due, now)

    bench.taking._scans.choose = count  # type: ignore[method-assign]
    began = bench.loop.time()
    bench.create(other.key)
    bench.taking.woken("other", {0})
    bench.play(1.0)
    [(at, _)] = bench.fired[other.key]
    assert at - began < 0.1
    assert chosen["calls"] < 200
    bench.create(other.key, ago=60.0)
    bench.play(3.0)
    assert len(bench.fired[other.key]) == 2


def test_a_row_that_a_take_passed_by_is_taken_as_soon_as_it_can_be(bench: Bench) -> None:
    [shard] = bench.claim("g", 1)
    bench.start()
    bench.play(2.0)
    bench.store.each = lambda _: 0.05
    bench.play(3.0)
    bench.store.locked[shard.key] = bench.create(shard.key)
    bench.play(0.002)
    bench.create(shard.key)
    bench.taking.woken("g", {0})
    bench.play(0.3)
    assert len(bench.fired[shard.key]) == 1
    asked = len(bench.store.named)
    bench.play(1.0)
    assert len(bench.store.named) - asked < 50
    del bench.store.locked[shard.key]
    bench.play(0.1)
    assert len(bench.fired[shard.key]) == 2


def test_a_look_of_this_process_own_does_not_hide_a_wake_up(bench: Bench) -> None:
    [shard] = bench.claim("g", 1)
    bench.start()
    bench.play(2.5)
    before = shard.floor
    assert before is not None
    bench.taking.look_within(shard.key, 0.5, False)
    bench.taking.woken("g", {0})
    bench.play(0.001)
    _, floors = bench.store.named[-1]
    assert floors[shard.key] == before - LATE_COMMIT


def test_it_tells_since_when_a_take_was_not_answered(bench: Bench) -> None:
    bench.claim("g", 1)
    bench.start()
    bench.play(5.0)
    told = [bench.taking.given_up_at]
    bench.store.away = True
    bench.play(10.0)
    bench.store.away = False
    told.append(bench.taking.given_up_at)
    bench.play(GIVEN_UP_FOR + 10.0)
    told.append(bench.taking.given_up_at)
    before, given_up_at, after = told
    assert (before, after) == (None, None)
    assert given_up_at is not None
    assert 4.0 < given_up_at < 7.0
