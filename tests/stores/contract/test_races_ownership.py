"""Races over members, claims and groups, between processes with connections of their own."""

import asyncio
import contextlib
import random
from datetime import timedelta

from durable_timer.errors import GroupIdConflict
from durable_timer.models.outcome import OutcomeKind
from durable_timer.models.ownership import Assignment, Claim
from durable_timer.models.results import Target, WhenRunning
from durable_timer.models.timer import TakenTimer, TimerState
from durable_timer.stores.base import Store
from tests.stores.conftest import SharedBackend
from tests.stores.contract.world import LATER, NOW, Executor, World, outcome, unique
from tests.support.waiting import eventually

RUNNING, PENDING, COMPLETED = TimerState.RUNNING, TimerState.PENDING, TimerState.COMPLETED


class TestClaims:
    async def test_two_claimants_of_a_dead_owners_shards(self, shared: World) -> None:
        """Each shard goes to one of them, under one new epoch. They ask in opposite orders."""
        wide = World(shared.store, shared.open, shared.pass_time, shards=64)
        await wide.register()
        elsewhere = await wide.open()
        owner, first, second = [await wide.join() for _ in range(3)]
        for epoch in range(1, 6):
            claims = await wide.claim(owner)
            await wide.die(owner)
            answers = await asyncio.gather(wide.store.claim(claims, first), elsewhere.claim(claims[::-1], second))
            mine, theirs = answers[0], answers[1][::-1]
            assert [{one, other} for one, other in zip(mine, theirs, strict=True)] == [{2 * epoch, None}] * 64
            rows = await wide.shard_rows()
            assert [row.owner for row in rows] == [first if epoch_given else second for epoch_given in mine]
            for incarnation in (first, second):
                held = [Claim(*row.key, row.epoch) for row in rows if row.owner == incarnation]
                assert all(await wide.store.release(held, incarnation, NOW))
            owner = await wide.join()

    async def test_a_claim_against_the_release_it_waits_for(self, shared: World) -> None:
        elsewhere = await shared.open()
        me, heir = await shared.join(), await shared.join()
        for epoch in range(1, 20, 2):
            claims = await shared.claim(me)
            released, claimed = await asyncio.gather(
                shared.store.release(claims, me, LATER), elsewhere.claim(claims, heir)
            )
            assert released == [True] * 4
            assert set(claimed) <= {None, epoch + 1}
            again = await elsewhere.claim(
                [claim for claim, done in zip(claims, claimed, strict=True) if not done], heir
            )
            assert set(again) <= {epoch + 1}
            rows = await shared.shard_rows()
            assert {(row.owner, row.epoch) for row in rows} == {(heir, epoch + 1)}
            assert all((drain.epoch, drain.incarnation) == (epoch, me) for row in rows for drain in row.drains[-1:])
            await shared.store.release(await shared.seen(), heir, timedelta(microseconds=1))

    async def test_ones_own_repeated_claim_against_a_strangers(self, shared: World) -> None:
        """A living owner keeps its shards whatever a stranger tries."""
        elsewhere = await shared.open()
        me, stranger = await shared.join(), await shared.join()
        claims = await shared.claim(me)
        for _ in range(20):
            mine, theirs = await asyncio.gather(shared.store.claim(claims, me), elsewhere.claim(claims, stranger))
            assert theirs == [None] * 4
            claims = [Claim(*claim[:2], epoch or 0) for claim, epoch in zip(claims, mine, strict=True)]
        assert {row.owner for row in await shared.shard_rows()} == {me}


class TestDeath:
    async def test_a_declaration_against_the_members_own_beat(self, shared: World) -> None:
        """Either the beat is refused and the member dead, or it lives and the declaration failed."""
        elsewhere = await shared.open()
        for number in range(60):
            me = await shared.join()
            beat = shared.store.beat(me, 1, draining=False, report=None)
            declaration = elsewhere.declare_dead(me, 0)
            calls = (beat, declaration) if number % 2 else (declaration, beat)
            answers = await asyncio.gather(*calls)
            answer, dead = answers if number % 2 else answers[::-1]
            assert (answer is None) is dead
            row = next(row for row in await shared.store.members(shared.pool) if row.incarnation == me)
            assert (row.dead, row.beat) == (dead, 0 if dead else 1)
            await shared.store.leave(me)

    async def test_a_claim_against_the_claimants_death(self, shared: World) -> None:
        """What a member claimed before its death is free after it, and it claims nothing once it is dead."""
        elsewhere = await shared.open()
        for _ in range(20):
            me, heir = await shared.join(), await shared.join()
            claimed, dead = await asyncio.gather(
                shared.store.claim(await shared.seen(), me), elsewhere.declare_dead(me, 0)
            )
            assert dead
            rows = await shared.shard_rows()
            assert [row.epoch for row in rows if row.owner == me] == [epoch for epoch in claimed if epoch]
            assert await shared.store.claim(await shared.seen(), me) == [None] * 4
            assert len(await shared.claim(heir)) == 4
            await shared.store.leave(heir)
            await shared.store.leave(me)


class TestClaimAgainstTake:
    async def test_an_uncommitted_take_and_the_heirs_claim(self, shared: World, shared_backend: SharedBackend) -> None:
        """Whether the claim waits for the take or the take commits behind it: the sweep finds what it took."""
        owner = await shared.executor()
        await shared.create("t")
        heir = await shared.join()
        elsewhere = await shared.open()
        await shared.die(owner.me)
        async with shared_backend.hold_takes(shared.group_id) as held:
            take = asyncio.create_task(owner.take())
            await held()
            seen = await shared.seen()
            claim = asyncio.create_task(elsewhere.claim(seen, heir))
            await asyncio.wait([claim], timeout=0.2)
        assert await claim == [2] * 4
        (taken,) = (await take).timers
        row = await shared.row("t")
        assert (row.state, row.run, row.taken_epoch) == (RUNNING, taken.run, 1)
        successor = Executor(shared, elsewhere, heir, [Claim(*item[:2], 2) for item in seen])
        assert sum((await successor.sweep()).recovered.values()) == 1
        assert (await successor.take_one()).timer_id == "t"
        assert not await owner.settle(taken, OutcomeKind.COMPLETED, attempt=1)

    async def test_a_sweep_before_the_take_commits_leaves_it_to_the_next(
        self, shared: World, shared_backend: SharedBackend
    ) -> None:
        owner = await shared.executor()
        await shared.create("t")
        async with shared_backend.hold_takes(shared.group_id) as held:
            take = asyncio.create_task(owner.take())
            await held()
            assert (await owner.sweep(own_age=NOW)).recovered == {}
        (taken,) = (await take).timers
        assert (await shared.row("t")).run == taken.run

    async def test_a_take_given_up_before_its_commit(self, shared: World, shared_backend: SharedBackend) -> None:
        """Its connection is closed: what it took is pending again, at once or by the sweep, and never both."""
        owner = await shared.executor()
        await shared.create("t")
        async with shared_backend.hold_takes(shared.group_id) as held:
            take = asyncio.create_task(owner.take())
            await held()
            take.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await take
            assert take.cancelled()

        async def again() -> list[TakenTimer]:
            await owner.sweep(own_age=timedelta(milliseconds=1))
            return (await owner.take()).timers

        (taken,) = await eventually(again)
        assert await owner.settle(taken, OutcomeKind.COMPLETED, attempt=1)

    async def test_a_write_waits_for_the_take_or_is_refused(self, shared: World, shared_backend: SharedBackend) -> None:
        """A cancel that arrives while a take is uncommitted is not applied to what was taken."""
        owner = await shared.executor()
        await shared.create("t")
        bridge = await shared.open()
        async with shared_backend.hold_takes(shared.group_id) as held:
            take = asyncio.create_task(owner.take())
            await held()
            cancel = asyncio.create_task(bridge.delete(shared.group_id, [Target("t")], WhenRunning.REFUSE))
            await asyncio.wait([cancel], timeout=0.2)
        (answer,) = await cancel
        taken = (await take).timers
        assert bool(answer.refusal) is bool(taken)
        assert (await shared.find("t") is None) is (not taken)


class TestHandOver:
    async def test_random_hand_overs_while_callbacks_run(self, shared: World) -> None:
        """Three members pass the shards on and on; each timer is settled once, and runs once unless it was swept."""
        rng = random.Random(11)
        stores = [shared.store, await shared.open(), await shared.open()]
        ids = [f"t{number}" for number in range(120)]
        await shared.create(*ids)
        settled: list[str] = []
        running: list[asyncio.Task[None]] = []

        async def callback(executor: Executor, timer: TakenTimer) -> None:
            await asyncio.sleep(rng.uniform(0, 0.03))
            assert await executor.settle(timer, OutcomeKind.COMPLETED, attempt=1), "nobody else may have settled it"
            settled.append(timer.timer_id)

        turn = 0
        while len(settled) < len(ids):
            executor = await shared.executor(stores[turn % 3])
            turn += 1
            assert (await executor.sweep(own_age=LATER)).recovered == {}
            taken = (await executor.take(limit=8)).timers
            running += [asyncio.create_task(callback(executor, timer)) for timer in taken]
            unsent = (await executor.take(limit=3)).timers
            assert all(await executor.store.settle([outcome(timer, OutcomeKind.DEFERRED) for timer in unsent]))
            assert await executor.release(LATER) == [True] * 4
            if not taken:
                await asyncio.wait(running)
        await asyncio.gather(*running)
        assert sorted(settled) == sorted(ids)
        assert {row.attempt for row in await shared.store.get(shared.group_id, ids) if row} == {1}

    async def test_settle_against_the_end_of_until(self, shared: World) -> None:
        """A drain that ends while its callbacks are settled: each row is settled, or recovered and run again."""
        departing = await shared.executor()
        ids = [f"t{number}" for number in range(40)]
        await shared.create(*ids)
        taken = (await departing.take()).timers
        while len(taken) < len(ids):
            taken += (await departing.take()).timers
        await departing.release(timedelta(milliseconds=150))
        first, *others, last = taken
        assert await departing.settle(first, OutcomeKind.COMPLETED, attempt=1)
        heir = await shared.executor(await shared.open())
        settled: dict[str, bool] = {}
        again: list[str] = []

        async def settle(timer: TakenTimer, number: int) -> None:
            await asyncio.sleep(0.3 * number / len(ids))
            settled[timer.timer_id] = await departing.settle(timer, OutcomeKind.COMPLETED, attempt=1)

        async def recover() -> None:
            while len(settled) < len(others) or last.timer_id not in again:
                await heir.sweep()
                again.extend(timer.timer_id for timer in (await heir.take()).timers)
                await asyncio.sleep(0.002)

        recovery = asyncio.create_task(recover())
        await asyncio.gather(*(settle(timer, number) for number, timer in enumerate(others)))
        await recovery
        assert not await departing.settle(last, OutcomeKind.COMPLETED, attempt=1)
        lost = [timer_id for timer_id, applied in settled.items() if not applied]
        assert sorted(again) == sorted([*lost, last.timer_id])


class TestPlan:
    async def test_two_leaders(self, shared: World) -> None:
        """Terms are not given twice, and the lower one writes nothing once the higher one is stamped."""
        elsewhere = await shared.open()
        for _ in range(10):
            terms = await asyncio.gather(
                shared.store.raise_term(shared.pool, "one"), elsewhere.raise_term(shared.pool, "two")
            )
            assert terms[0] != terms[1]
            assert {row.plan_term for row in await shared.shard_rows()} == {max(terms)}
            plans = {term: [Assignment(shared.group_id, number, f"by-{term}") for number in range(4)] for term in terms}
            written = await asyncio.gather(
                shared.store.assign(shared.pool, terms[0], plans[terms[0]]),
                elsewhere.assign(shared.pool, terms[1], plans[terms[1]]),
            )
            assert written[terms.index(min(terms))] == 0
            assert {row.assigned_to for row in await shared.shard_rows()} == {f"by-{max(terms)}"}


class TestRegistrations:
    async def test_two_owners_of_one_id(self, shared: World) -> None:
        elsewhere = await shared.open()
        for _ in range(20):
            group_id = unique("g")
            asked = [shared.registration(group_id=group_id, owner=f"file:{side}") for side in range(2)]
            answers = await asyncio.gather(
                shared.store.register_group(asked[0]), elsewhere.register_group(asked[1]), return_exceptions=True
            )
            (refused,) = [answer for answer in answers if isinstance(answer, BaseException)]
            (group,) = [answer for answer in answers if not isinstance(answer, BaseException)]
            assert isinstance(refused, GroupIdConflict)
            assert refused.owner == group.owner

    async def test_the_same_registration_from_two_processes(self, shared: World) -> None:
        elsewhere = await shared.open()
        for _ in range(20):
            asked = shared.registration(group_id=unique("g"))
            first, second = await asyncio.gather(shared.store.register_group(asked), elsewhere.register_group(asked))
            assert first == second

    async def test_a_reader_that_follows_the_numbers_misses_nothing(self, shared: World) -> None:
        """Registrations of many groups, from several processes, as they commit; the reader keeps the last number."""
        stores: list[Store] = [shared.store, await shared.open(), await shared.open()]
        reader = await shared.open()
        groups = [unique("g") for _ in range(45)]
        for name in groups[::2]:
            await shared.register(group_id=name, generation=0)
        seen: dict[str, int] = {}
        _, last = await reader.groups(None)
        done = asyncio.Event()

        async def read() -> None:
            nonlocal last
            newer, highest = await reader.groups(last)
            assert all(last < group.change <= highest for group in newer)
            seen.update({group.group_id: group.generation for group in newer})
            last = highest

        async def follow() -> None:
            while not done.is_set():
                await read()
            await read()

        async def write(store: Store, names: list[str]) -> None:
            """Each name once: one that was missed is not made good by a later write."""
            for name in names:
                await store.register_group(shared.registration(group_id=name))

        following = asyncio.create_task(follow())
        await asyncio.gather(*(write(stores[side % 3], groups[side::6]) for side in range(6)))
        done.set()
        await following
        assert {name: seen.get(name) for name in groups} == dict.fromkeys(groups, 1)
