"""Eight processes that do anything at any time to few timers; then what must hold of all that they were told."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from durable_timer.models.outcome import Outcome, OutcomeKind
from durable_timer.models.ownership import Claim
from durable_timer.models.results import CreateStatus, IfExists, Refusal, Target, WhenRunning
from durable_timer.models.timer import LastOutcome, TakenTimer, Timer, TimerChange, TimerState
from durable_timer.stores.base import Store
from tests.stores.contract.world import LATER, Executor, World, outcome
from tests.support.waiting import eventually

CLIENTS = 5
EXECUTORS = 3
ACTIONS = 120
IDS = [f"t{number}" for number in range(25)]
SOON = timedelta(milliseconds=30)


@dataclass
class Ledger:
    """What clients and executors were told, by the uid of a timer.

    A process that is gone is told nothing: what it took may be delivered again, and its answers may come late.
    """

    created: set[int] = field(default_factory=set)
    versions: Counter[tuple[int, int]] = field(default_factory=Counter)
    deleted: set[int] = field(default_factory=set)
    occurrences: dict[int, int] = field(default_factory=dict)
    attempts: Counter[tuple[int, int, int]] = field(default_factory=Counter)
    forgotten: Counter[tuple[int, int, int]] = field(default_factory=Counter)

    def wrote(self, row: Timer) -> None:
        """A client's write was answered with this row; no other answer may carry its version."""
        self.versions[row.uid, row.version] += 1
        self.occurrences[row.uid] = max(row.occurrence, self.occurrences.get(row.uid, 0))

    def took(self, timer: TakenTimer) -> None:
        """An executor holds this timer now."""
        assert timer.uid not in self.deleted, "a deleted timer fired"
        assert timer.remaining <= 0, "a timer fired early"
        assert timer.occurrence >= self.occurrences.get(timer.uid, 0), "an occurrence fired that was replaced"
        self.attempts[timer.uid, timer.occurrence, timer.attempt] += 1

    def forgot(self, timer: TakenTimer) -> None:
        """The executor that held it died: it is delivered again."""
        self.forgotten[timer.uid, timer.occurrence, timer.attempt] += 1

    def check(self) -> None:
        assert max(self.versions.values()) == 1, "a write was lost"
        twice = {key: count for key, count in self.attempts.items() if count > 1 + self.forgotten[key]}
        assert not twice, "delivered again without a fault"


class Client:
    """A bridge's clients: each action on a random timer, and its answer in the ledger."""

    def __init__(self, world: World, store: Store, ledger: Ledger, rng: random.Random) -> None:
        self._world, self._store, self._ledger, self._rng = world, store, ledger, rng
        self._acts = [self._create, self._create, self._update, self._suspend, self._run, self._redrive, self._delete]

    async def act(self) -> None:
        for _ in range(ACTIONS):
            await self._rng.choice(self._acts)(self._rng.choice(IDS))
            await asyncio.sleep(self._rng.uniform(0, 0.004))

    def _payload(self) -> bytes:
        return b"%d" % self._rng.getrandbits(60)

    async def _create(self, timer_id: str) -> None:
        payload = self._payload()
        new = self._world.new(
            timer_id, says=payload.decode(), payload=payload, delay=SOON * self._rng.random(), suspended=False
        )
        (result,) = await self._store.create([new], self._rng.choice(list(IfExists)))
        if result.status in {CreateStatus.CREATED, CreateStatus.REPLACED}:
            self._ledger.wrote(result.timer)
        if result.status is CreateStatus.CREATED:
            self._ledger.created.add(result.timer.uid)

    async def _update(self, timer_id: str) -> None:
        change = TimerChange(payload=self._payload(), content_type=None, delay=SOON * self._rng.random())
        await self._change(timer_id, change)

    async def _suspend(self, timer_id: str) -> None:
        change = TimerChange(payload=self._payload(), content_type=None, suspended=self._rng.random() < 0.4)
        await self._change(timer_id, change)

    async def _change(self, timer_id: str, change: TimerChange) -> None:
        result = await self._store.update(self._world.group_id, Target(timer_id), change)
        if result.refusal is None and result.timer is not None:
            assert result.timer.payload == change.payload
            self._ledger.wrote(result.timer)

    async def _run(self, timer_id: str) -> None:
        (result,) = await self._store.run(self._world.group_id, [Target(timer_id)])
        if result.refusal is None and result.timer is not None:
            self._ledger.wrote(result.timer)

    async def _redrive(self, timer_id: str) -> None:
        (result,) = await self._store.redrive(self._world.group_id, [Target(timer_id)])
        if result.refusal is None and result.timer is not None:
            self._ledger.wrote(result.timer)

    async def _delete(self, timer_id: str) -> None:
        (before,) = await self._store.get(self._world.group_id, [timer_id])
        if before is None:
            return
        when = self._rng.choice(list(WhenRunning))
        (result,) = await self._store.delete(self._world.group_id, [Target(timer_id)], when)
        (after,) = await self._store.get(self._world.group_id, [timer_id])
        if result.refusal is None and when is WhenRunning.REFUSE and (after is None or after.uid != before.uid):
            self._ledger.deleted.add(before.uid)
        assert result.refusal in {None, Refusal.NOT_FOUND, Refusal.EXECUTING}


class Process:
    """An executor that takes, calls back, settles, hands over, and now and then dies with what it holds."""

    def __init__(self, world: World, store: Store, ledger: Ledger, rng: random.Random) -> None:
        self._world, self._store, self._ledger, self._rng = world, store, ledger, rng
        self._me = ""
        self._claims: list[Claim] = []
        self._running: dict[asyncio.Task[None], TakenTimer] = {}

    async def live(self, done: asyncio.Event) -> None:
        self._me = await self._world.join(store=self._store)
        while not done.is_set():
            await self._claim()
            await self._store.sweep(self._claims, self._me, frozenset(), LATER, 10, drains_over=await self._store.now())
            await self._take()
            fate = self._rng.random()
            if fate < 0.1:
                await self._hand_over()
            elif fate < 0.15:
                await self._die()
            await asyncio.sleep(self._rng.uniform(0, 0.006))
        await asyncio.gather(*self._running)
        await self._hand_over()
        await self._store.leave(self._me)

    async def _claim(self) -> None:
        rows, _ = await self._store.shards(self._world.pool)
        members = {member.incarnation: member for member in await self._store.members(self._world.pool)}
        free = [
            Claim(*row.key, row.epoch)
            for row in rows
            if (row.owner is None or row.owner not in members or members[row.owner].dead) and self._rng.random() < 0.5
        ]
        epochs = await self._store.claim(free, self._me)
        self._claims += [Claim(*claim[:2], epoch) for claim, epoch in zip(free, epochs, strict=True) if epoch]

    async def _take(self) -> None:
        executor = Executor(self._world, self._store, self._me, self._claims)
        for timer in (await executor.take(limit=5)).timers:
            self._ledger.took(timer)
            task = asyncio.create_task(self._call_back(timer))
            self._running[task] = timer
            task.add_done_callback(self._running.pop)

    async def _call_back(self, timer: TakenTimer) -> None:
        await asyncio.sleep(self._rng.uniform(0, 0.02))
        (applied,) = await self._store.settle([self._outcome(timer)])
        assert applied, "somebody else settled what a living executor held"

    def _outcome(self, timer: TakenTimer) -> Outcome:
        kind = self._rng.choice([OutcomeKind.COMPLETED, OutcomeKind.FAILED, OutcomeKind.RETRY, OutcomeKind.NEXT])
        at = timer.execute_at + SOON
        return outcome(
            timer, kind, attempt=timer.attempt + 1, delay=SOON / 3, at=at, last_outcome=LastOutcome.COMPLETED
        )

    async def _hand_over(self) -> None:
        released = await self._store.release(self._claims, self._me, LATER)
        assert all(released)
        self._claims = []

    async def _die(self) -> None:
        """Stops in the middle: what it holds is never settled, and its successor on the same store starts empty."""
        for task, timer in self._running.items():
            task.cancel()
            self._ledger.forgot(timer)
        gone = await asyncio.gather(*self._running, return_exceptions=True)
        assert [answer for answer in gone if isinstance(answer, Exception)] == []
        assert await self._store.declare_dead(self._me, 0)
        self._claims = []
        self._me = await self._world.join(store=self._store)


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_they_do(shared: World, seed: int) -> None:
    rng = random.Random(seed)
    ledger = Ledger()
    stores = [shared.store, *[await shared.open() for _ in range(CLIENTS + EXECUTORS - 1)]]
    clients = [Client(shared, store, ledger, random.Random(rng.random())) for store in stores[:CLIENTS]]
    processes = [Process(shared, store, ledger, random.Random(rng.random())) for store in stores[CLIENTS:]]
    done = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for process in processes:
            group.create_task(process.live(done))
        acting = [asyncio.create_task(client.act()) for client in clients]
        await asyncio.gather(*acting)
        done.set()
    ledger.check()
    await _run_out(shared)
    rows = [row for row in await shared.store.get(shared.group_id, IDS) if row is not None]
    assert {row.uid for row in rows} <= ledger.created
    assert not {row.uid for row in rows} & ledger.deleted
    assert all(row.state in {TimerState.COMPLETED, TimerState.FAILED} or row.suspended for row in rows)


async def _run_out(world: World) -> None:
    """A last executor finds and ends whatever is left."""
    last = await world.executor()

    async def nothing_left() -> bool:
        await last.sweep()
        taken = (await last.take()).timers
        await world.store.settle([outcome(timer, OutcomeKind.COMPLETED, attempt=1) for timer in taken])
        counts = await world.store.counts(world.group_id)
        suspended = [row for row in await world.store.get(world.group_id, IDS) if row and row.suspended]
        return counts.running == 0 and counts.pending == len([r for r in suspended if r.state is TimerState.PENDING])

    await eventually(nothing_left)
