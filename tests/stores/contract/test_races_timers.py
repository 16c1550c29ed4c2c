"""Races over single timers: each ends as one of the two orders would, whoever wins.

In a store for one process the two sides are a bridge and an executor of that process.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from durable_timer.models.group import GroupState
from durable_timer.models.outcome import OutcomeKind
from durable_timer.models.results import CreateStatus, DeleteStatus, IfExists, Refusal, Target, WhenRunning
from durable_timer.models.timer import TakenTimer, TimerChange, TimerState
from durable_timer.stores.base import Store
from tests.stores.contract.world import LATER, NOW, Executor, World, new_run, outcome
from tests.support.waiting import eventually

PENDING, RUNNING, COMPLETED, FAILED = TimerState
TIMERS = 60
ROUNDS = 8
A_ROUND = 10


async def at_once(*calls: Awaitable[object]) -> None:
    """Makes all calls at the same moment, begun in a random order."""
    async with asyncio.TaskGroup() as group:
        for call in random.sample(calls, len(calls)):
            group.create_task(_awaited(call))


async def _awaited(call: Awaitable[object]) -> None:
    await call


async def take_all(executor: Executor, enough: Callable[[list[TakenTimer]], bool], limit: int = 7) -> list[TakenTimer]:
    """Takes until `enough` says so."""
    taken: list[TakenTimer] = []
    while not enough(taken):
        taken += (await executor.take(limit=limit)).timers
        await asyncio.sleep(0.001)
    return taken


Contender = Callable[[Store, World, str], Awaitable[bool]]
"""Writes one timer; whether it was applied. It must be refused as executing otherwise."""


async def cancel(store: Store, world: World, timer_id: str) -> bool:
    (result,) = await store.delete(world.group_id, [Target(timer_id)], WhenRunning.REFUSE)
    assert result.refusal in {None, Refusal.EXECUTING}
    return result.refusal is None


async def put(store: Store, world: World, timer_id: str) -> bool:
    result = await store.update(world.group_id, Target(timer_id), TimerChange(delay=LATER))
    assert result.refusal in {None, Refusal.EXECUTING}
    return result.refusal is None


async def suspend(store: Store, world: World, timer_id: str) -> bool:
    result = await store.update(world.group_id, Target(timer_id), TimerChange(suspended=True))
    assert result.refusal in {None, Refusal.EXECUTING}
    return result.refusal is None


async def replace(store: Store, world: World, timer_id: str) -> bool:
    (result,) = await store.create([world.new(timer_id, says="replaced", delay=LATER)], IfExists.REPLACE)
    assert result.status in {CreateStatus.REPLACED, CreateStatus.EXECUTING}
    return result.status is CreateStatus.REPLACED


@pytest.mark.parametrize("contender", [cancel, put, suspend, replace])
async def test_a_take_against_a_write(world: World, executor: Executor, contender: Contender) -> None:
    """What was written is not taken at its old time; what was taken is not written."""
    bridge = await world.elsewhere()
    for round_ in range(ROUNDS):
        ids = [f"t{round_}-{number}" for number in range(A_ROUND)]
        await world.create(*ids)
        applied: dict[str, bool] = {}
        taken: list[str] = []

        async def take(taken: list[str] = taken) -> None:
            taken += [timer.timer_id for timer in (await executor.take()).timers]

        async def write(timer_id: str, applied: dict[str, bool] = applied) -> None:
            applied[timer_id] = await contender(bridge, world, timer_id)

        await at_once(take(), take(), *(write(timer_id) for timer_id in ids))
        await take()
        assert sorted(taken) == sorted(timer_id for timer_id, written in applied.items() if not written)
        for timer_id, row in zip(ids, await world.store.get(world.group_id, ids), strict=True):
            if applied[timer_id] and contender is cancel:
                assert row is None
            else:
                assert row is not None
                assert row.version == 2
                assert row.state is (PENDING if applied[timer_id] else RUNNING)


async def test_a_take_against_run(world: World, executor: Executor) -> None:
    """Whoever wins, the timer is taken once; a run that lost is told so."""
    bridge = await world.elsewhere()
    for round_ in range(ROUNDS):
        ids = [f"t{round_}-{number}" for number in range(A_ROUND)]
        await world.create(*ids)
        versions: dict[str, int] = {}
        taken: list[str] = []

        async def take(taken: list[str] = taken) -> None:
            taken += [timer.timer_id for timer in (await executor.take()).timers]

        async def run(timer_id: str, versions: dict[str, int] = versions) -> None:
            (result,) = await bridge.run(world.group_id, [Target(timer_id)])
            assert result.refusal in {None, Refusal.EXECUTING}
            versions[timer_id] = 2 if result.refusal else 3

        await at_once(take(), take(), *(run(timer_id) for timer_id in ids))
        await take()
        assert sorted(taken) == sorted(ids)
        rows = await world.store.get(world.group_id, ids)
        assert {row.timer_id: row.version for row in rows if row} == versions


async def test_two_takers(world: World, executor: Executor) -> None:
    """Each timer goes to one of them, and is running under that one's token."""
    second = Executor(world, await world.elsewhere(), executor.me, executor.claims)
    for round_ in range(ROUNDS):
        ids = [f"t{round_}-{number}" for number in range(4 * A_ROUND)]
        await world.create(*ids)
        runs: dict[str, int] = {}

        async def take(taker: Executor, runs: dict[str, int] = runs) -> None:
            for timer in (await taker.take(limit=A_ROUND)).timers:
                assert timer.timer_id not in runs
                runs[timer.timer_id] = timer.run

        await at_once(*(take(taker) for taker in (executor, second) * 3))
        while len(runs) < len(ids):
            await take(executor)
        rows = await world.store.get(world.group_id, ids)
        assert {row.timer_id: row.run for row in rows if row} == runs


class TestTwoCreators:
    @pytest.mark.parametrize("batch", [1, 25])
    @pytest.mark.parametrize(
        ("says", "if_exists", "lost"),
        [
            (("one", "two"), IfExists.FAIL, CreateStatus.CONFLICT),
            (("one", "one"), IfExists.FAIL, CreateStatus.IDENTICAL),
            (("one", "two"), IfExists.KEEP, CreateStatus.IDENTICAL),
            (("one", "two"), IfExists.REPLACE, CreateStatus.REPLACED),
        ],
    )
    async def test_one_creates_and_the_other_finds(
        self, world: World, batch: int, says: tuple[str, str], if_exists: IfExists, lost: CreateStatus
    ) -> None:
        """Batches name the ids in opposite orders, so that a store that locks as it goes would deadlock."""
        stores = (world.store, await world.elsewhere())
        ids = [f"t{number}" for number in range(50)]
        orders = (ids, ids[::-1])

        async def create(side: int) -> dict[str, tuple[CreateStatus, bytes]]:
            answers: dict[str, tuple[CreateStatus, bytes]] = {}

            async def one(piece: list[str]) -> None:
                new = [world.new(timer_id, says=says[side], delay=LATER) for timer_id in piece]
                for result in await stores[side].create(new, if_exists):
                    answers[result.timer.timer_id] = (result.status, result.timer.fingerprint)

            order = orders[side]
            await asyncio.gather(*(one(order[start : start + batch]) for start in range(0, len(order), batch)))
            return answers

        first, second = await asyncio.gather(create(0), create(1))
        rows = {row.timer_id: row for row in await world.store.get(world.group_id, ids) if row}
        for timer_id in ids:
            statuses = {first[timer_id][0], second[timer_id][0]}
            assert statuses == {CreateStatus.CREATED, lost}
            winner = first if (first[timer_id][0] is CreateStatus.CREATED) else second
            last = winner if lost is not CreateStatus.REPLACED else (second if winner is first else first)
            assert rows[timer_id].fingerprint == last[timer_id][1]
            assert rows[timer_id].version == (2 if lost is CreateStatus.REPLACED else 1)


class TestStop:
    @pytest.mark.parametrize("kind", [OutcomeKind.COMPLETED, OutcomeKind.RETRY, OutcomeKind.DEFERRED, OutcomeKind.NEXT])
    async def test_against_a_settle(self, world: World, executor: Executor, kind: OutcomeKind) -> None:
        """After both, the row is gone, whichever came first; the settle is applied always."""
        bridge = await world.elsewhere()
        ids = [f"t{number}" for number in range(TIMERS)]
        await world.create(*ids)
        taken = await take_all(executor, lambda taken: len(taken) == TIMERS)
        at = await world.store.now() + LATER

        async def settle(timer: TakenTimer) -> None:
            assert await executor.settle(timer, kind, attempt=1, delay=LATER, at=at)

        async def stop(timer: TakenTimer) -> DeleteStatus:
            (result,) = await bridge.delete(world.group_id, [Target(timer.timer_id)], WhenRunning.STOP)
            assert result.refusal is None
            return result.status

        both = [call(timer) for timer in taken for call in _either_order(settle, stop)]
        answers = await asyncio.gather(*both)
        assert set(answers) <= {None, DeleteStatus.STOPPING, DeleteStatus.DELETED}
        assert await world.store.get(world.group_id, ids) == [None] * TIMERS

    async def test_against_recovery(self, world: World, executor: Executor) -> None:
        bridge = await world.elsewhere()
        ids = [f"t{number}" for number in range(TIMERS)]
        await world.create(*ids)
        await take_all(executor, lambda taken: len(taken) == TIMERS)
        executor.claims = await world.claim(executor.me)

        async def stop(timer_id: str) -> None:
            (result,) = await bridge.delete(world.group_id, [Target(timer_id)], WhenRunning.STOP)
            assert result.refusal is None

        async def sweep() -> None:
            swept = 0
            while swept < TIMERS:
                answer = await executor.sweep(limit=7)
                found = sum(answer.recovered.values()) + answer.cancelled
                if not found:
                    break
                swept += found

        await asyncio.gather(sweep(), *(stop(timer_id) for timer_id in ids))
        await executor.sweep()
        assert await world.store.get(world.group_id, ids) == [None] * TIMERS


def _either_order(*calls: Callable[[TakenTimer], Awaitable[object]]) -> list[Callable[[TakenTimer], Awaitable[object]]]:
    return random.sample(calls, len(calls))


@pytest.mark.parametrize("kind", [OutcomeKind.COMPLETED, OutcomeKind.RETRY])
async def test_a_late_settle_against_recovery_and_a_new_take(
    world: World, executor: Executor, kind: OutcomeKind
) -> None:
    """The old run settles, or the timer is recovered and runs again: never both."""
    elsewhere = await world.elsewhere()
    for round_ in range(ROUNDS):
        ids = [f"t{round_}-{number}" for number in range(A_ROUND)]
        await world.create(*ids)
        old = await take_all(executor, lambda taken: len(taken) == A_ROUND)
        late = Executor(world, elsewhere, executor.me, executor.claims)
        executor.claims = await world.claim(executor.me)
        settled: dict[str, bool] = {}
        again: list[TakenTimer] = []

        async def settle(timer: TakenTimer, late: Executor = late, settled: dict[str, bool] = settled) -> None:
            settled[timer.timer_id] = await late.settle(timer, kind, attempt=1, delay=LATER)

        async def recover(again: list[TakenTimer] = again) -> None:
            await executor.sweep()
            again += (await executor.take()).timers

        await at_once(recover(), recover(), *(settle(timer) for timer in old))
        await recover()
        lost = [timer_id for timer_id, applied in settled.items() if not applied]
        assert sorted(timer.timer_id for timer in again) == sorted(lost)
        rows = await world.store.get(world.group_id, ids)
        assert {row.timer_id: row.attempt for row in rows if row} == {key: int(settled[key]) for key in ids}
        assert all(await world.store.settle([outcome(timer, OutcomeKind.COMPLETED) for timer in again]))


@pytest.mark.parametrize("if_exists", IfExists)
async def test_purge_against_create(world: World, executor: Executor, if_exists: IfExists) -> None:
    """A timer whose create was acknowledged as its own is not purged with the row it followed."""
    bridge = await world.elsewhere()
    for round_ in range(ROUNDS):
        ids = [f"t{round_}-{number}" for number in range(A_ROUND)]
        await world.create(*ids)
        taken = await take_all(executor, lambda taken: len(taken) == A_ROUND)
        await world.store.settle([outcome(timer, OutcomeKind.COMPLETED, attempt=1) for timer in taken])
        answers: dict[str, CreateStatus] = {}

        async def create(timer_id: str, answers: dict[str, CreateStatus] = answers) -> None:
            (result,) = await bridge.create([world.new(timer_id, says="new", delay=LATER)], if_exists)
            answers[timer_id] = result.status

        purges = (world.store.purge(world.group_id, NOW, NOW, limit) for limit in (3, 7))
        await at_once(*purges, *(create(timer_id) for timer_id in ids))
        await eventually(lambda: _purged(world))
        rows = await world.store.get(world.group_id, ids)
        for timer_id, row in zip(ids, rows, strict=True):
            if answers[timer_id] in {CreateStatus.CREATED, CreateStatus.REPLACED}:
                assert row is not None
                assert (row.state, row.fingerprint) == (PENDING, world.new(timer_id, says="new").fingerprint)
            else:
                assert row is None


async def test_a_group_purged_while_others_create_ends_empty(world: World) -> None:
    """No purge and no create fails; a last pass finds what came late."""
    bridge = await world.elsewhere()
    await world.create(*(f"t{number}" for number in range(100)), delay=LATER)
    await world.store.set_group_state(world.group_id, world.owner, GroupState.PURGING)

    async def create(number: int) -> None:
        await bridge.create([world.new(f"t{number}", delay=LATER)], IfExists.REPLACE)

    async def purge() -> None:
        for _ in range(20):
            await world.store.purge_group(world.group_id, 10)

    await asyncio.gather(purge(), *(create(number) for number in range(TIMERS)))
    while await world.store.purge_group(world.group_id, 1000):
        pass
    assert (await world.store.counts(world.group_id)).pending == 0


class TestLostAnswers:
    async def test_a_take_that_was_given_up_is_found_by_the_sweep(self, world: World, executor: Executor) -> None:
        """Calls cancelled at any point, before or after the commit, lose nothing and double nothing."""
        rng = random.Random(7)
        ids = [f"t{number}" for number in range(TIMERS)]
        await world.create(*ids)
        taken: list[TakenTimer] = []
        for _ in range(20):
            call = asyncio.create_task(executor.take(limit=4))
            await asyncio.wait([call], timeout=rng.uniform(0, 0.004))
            call.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                taken += (await call).timers
        held = {timer.run for timer in taken}
        assert len({timer.timer_id for timer in taken}) == len(taken)

        async def recovered() -> bool:
            await executor.sweep(held=held, own_age=timedelta(milliseconds=1))
            taken.extend(timers := (await executor.take()).timers)
            held.update(timer.run for timer in timers)
            return {timer.timer_id for timer in taken} == set(ids)

        await eventually(recovered)
        assert len(taken) == len(ids)
        rows = {row.timer_id: row.run for row in await world.store.get(world.group_id, ids) if row}
        assert rows == {timer.timer_id: timer.run for timer in taken}

    async def test_an_answer_that_comes_late_is_held_all_the_while(self, world: World, executor: Executor) -> None:
        await world.create("t")
        run = new_run()
        (late,) = (await executor.take(run=run)).timers
        await eventually(lambda: _older_than(world, "t", timedelta(milliseconds=5)))
        swept = await executor.sweep(held=[run], own_age=timedelta(milliseconds=1))
        assert swept.recovered == {}
        assert await executor.settle(late, OutcomeKind.COMPLETED, attempt=1)

    async def test_an_answer_that_comes_after_it_was_given_up_settles_nothing(
        self, world: World, executor: Executor
    ) -> None:
        await world.create("t")
        (late,) = (await executor.take()).timers
        await eventually(lambda: _swept(executor))
        (again,) = (await executor.take()).timers
        assert not await executor.settle(late, OutcomeKind.COMPLETED, attempt=1)
        assert await executor.settle(again, OutcomeKind.COMPLETED, attempt=1)

    async def test_a_create_repeated_after_its_answer_was_lost_is_the_same(self, world: World) -> None:
        bridge = await world.elsewhere()
        rng = random.Random(3)
        ids = [f"t{number}" for number in range(20)]
        for timer_id in ids:
            call = asyncio.create_task(bridge.create([world.new(timer_id, delay=LATER)], IfExists.FAIL))
            await asyncio.wait([call], timeout=rng.uniform(0, 0.003))
            call.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await call
        results = await world.results(*(world.new(timer_id, delay=LATER) for timer_id in ids))
        assert {result.status for result in results} <= {CreateStatus.CREATED, CreateStatus.IDENTICAL}
        rows = await world.store.get(world.group_id, ids)
        assert [row and row.version for row in rows] == [1] * 20


async def _older_than(world: World, timer_id: str, age: timedelta) -> bool:
    return await world.store.now() - (await world.row(timer_id)).updated_at > age


async def _swept(executor: Executor) -> bool:
    return bool((await executor.sweep(own_age=timedelta(milliseconds=1))).recovered)


async def _purged(world: World) -> bool:
    """Whether nothing finished is left; a purge asks for rows that ended earlier than its instant."""
    await world.store.purge(world.group_id, NOW, NOW, 1000)
    counts = await world.store.counts(world.group_id)
    return counts.completed == counts.failed == 0
