"""Shards: claims, releases, drains, the plan and its term, and the token that tells of writes."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from durable_timer.models.group import GroupState
from durable_timer.models.ownership import Assignment, Claim
from durable_timer.stores.base import DRAIN_KEPT
from tests.stores.contract.world import LATER, NOW, SECOND, World, unique


class TestClaim:
    async def test_a_free_shard_is_claimed_under_the_next_epoch(self, world: World) -> None:
        me = await world.join()
        assert await world.store.claim(await world.seen(), me) == [1] * 4
        assert {(row.epoch, row.owner) for row in await world.shard_rows()} == {(1, me)}

    async def test_a_claim_is_answered_by_position(self, world: World) -> None:
        me = await world.join()
        asked = [Claim(world.group_id, 3, 0), Claim(world.group_id, 0, 7), Claim(world.group_id, 1, 0)]
        assert await world.store.claim(asked, me) == [1, None, 1]
        assert [row.owner for row in await world.shard_rows()] == [None, me, None, me]

    async def test_a_living_owners_shard_is_not_given(self, shared: World) -> None:
        owner, me = await shared.join(), await shared.join()
        claims = await shared.claim(owner)
        assert await shared.store.claim(claims, me) == [None] * 4
        assert {(row.epoch, row.owner) for row in await shared.shard_rows()} == {(1, owner)}

    async def test_a_draining_owner_lives(self, shared: World) -> None:
        owner, me = await shared.join(), await shared.join()
        claims = await shared.claim(owner)
        await shared.store.beat(owner, 1, draining=True, report=None)
        assert await shared.store.claim(claims, me) == [None] * 4

    async def test_a_dead_owners_shard_is_given(self, shared: World) -> None:
        owner, me = await shared.join(), await shared.join()
        claims = await shared.claim(owner)
        await shared.die(owner)
        assert await shared.store.claim(claims, me) == [2] * 4

    async def test_an_owner_without_a_row_is_dead(self, shared: World) -> None:
        owner, me = await shared.join(), await shared.join()
        claims = await shared.claim(owner)
        await shared.store.leave(owner)
        assert await shared.store.claim(claims, me) == [2] * 4

    async def test_ones_own_is_given_again_for_the_answer_may_have_been_lost(self, world: World) -> None:
        me = await world.join()
        claims = await world.claim(me)
        assert await world.store.claim(claims, me) == [2] * 4

    async def test_an_epoch_seen_earlier_is_refused(self, world: World) -> None:
        me = await world.join()
        await world.claim(me)
        await world.claim(me)
        assert await world.store.claim([Claim(world.group_id, 0, 1)], me) == [None]
        assert (await world.shard(0)).epoch == 2

    async def test_an_epoch_never_returns(self, world: World) -> None:
        me = await world.join()
        for expected in (1, 2, 3):
            claims = await world.claim(me)
            assert {claim.epoch for claim in claims} == {expected}
            assert await world.store.release(claims, me, NOW) == [True] * 4

    async def test_an_unknown_shard_is_not_given(self, world: World) -> None:
        me = await world.join()
        asked = [Claim(world.group_id, 99, 0), Claim("no-such-group", 0, 0)]
        assert await world.store.claim(asked, me) == [None, None]


class TestRelease:
    async def test_it_frees_the_shard_and_notes_who_may_still_settle(self, world: World) -> None:
        me = await world.join()
        claims = await world.claim(me, [0, 1])
        before = await world.store.now()
        assert await world.store.release(claims, me, LATER) == [True, True]
        after = await world.store.now()
        row = await world.shard(0)
        assert (row.owner, row.epoch) == (None, 1)
        (drain,) = row.drains
        assert (drain.epoch, drain.incarnation) == (1, me)
        assert before + LATER <= drain.until <= after + LATER

    async def test_only_ones_own_claim_is_released(self, shared: World) -> None:
        me, other = await shared.join(), await shared.join()
        mine = await shared.claim(me, [0])
        theirs = await shared.claim(other, [1])
        await shared.claim(me, [2])
        stale = [Claim(shared.group_id, 2, 0)]
        assert await shared.store.release([*stale, *theirs, *mine], me, LATER) == [False, False, True]
        assert [row.owner for row in await shared.shard_rows()] == [None, other, me, None]
        assert [len(row.drains) for row in await shared.shard_rows()] == [1, 0, 0, 0]

    async def test_a_second_release_adds_nothing(self, world: World) -> None:
        me = await world.join()
        claims = await world.claim(me, [0])
        await world.store.release(claims, me, LATER)
        assert await world.store.release(claims, me, LATER) == [False]
        assert len((await world.shard(0)).drains) == 1

    async def test_a_claim_keeps_drains_that_last(self, world: World) -> None:
        me = await world.join()
        for _ in range(2):
            await world.store.release(await world.claim(me, [0]), me, LATER)
        await world.claim(me, [0])
        drains = (await world.shard(0)).drains
        assert [(drain.epoch, drain.incarnation) for drain in drains] == [(1, me), (2, me)]

    async def test_a_claim_drops_drains_that_are_long_over(self, world: World) -> None:
        me = await world.join()
        for until in (-DRAIN_KEPT, timedelta(seconds=30) - DRAIN_KEPT):
            await world.store.release(await world.claim(me, [0]), me, until)
        await world.claim(me, [0])
        assert [drain.epoch for drain in (await world.shard(0)).drains] == [2]


class TestPlan:
    async def test_a_term_is_raised_and_stamped(self, world: World) -> None:
        first = await world.store.raise_term(world.pool, "one")
        assert {row.plan_term for row in await world.shard_rows()} == {first}
        second = await world.store.raise_term(world.pool, "two")
        assert second > first
        assert {row.plan_term for row in await world.shard_rows()} == {second}

    async def test_a_group_that_comes_from_another_pool_takes_on_the_term_of_its_new_one(self, world: World) -> None:
        for _ in range(4):
            await world.store.raise_term(world.pool, "zero")
        former = await world.store.raise_term(world.pool, "one")
        await world.store.assign(world.pool, former, [Assignment(world.group_id, 0, "a")])
        other = await world.store.raise_term(moved := unique("pool"), "two")
        assert other < former
        await world.store.set_group_state(world.group_id, world.owner, GroupState.DELETED)
        await world.register(pool=moved)
        rows = (await world.store.shards(moved))[0]
        assert {(row.plan_term, row.assigned_to) for row in rows} == {(other, None)}
        assert await world.store.assign(moved, other, [Assignment(world.group_id, 0, "b")]) == 1
        later = await world.store.raise_term(moved, "two")
        assert {row.plan_term for row in (await world.store.shards(moved))[0]} == {later}

    async def test_each_pool_has_its_own(self, world: World, other: World) -> None:
        await world.store.raise_term(world.pool, "one")
        assert {row.plan_term for row in await other.shard_rows()} == {0}

    async def test_an_assignment_is_written_and_counted(self, world: World) -> None:
        term = await world.store.raise_term(world.pool, "one")
        plan = [Assignment(world.group_id, 0, "a"), Assignment(world.group_id, 2, "b")]
        assert await world.store.assign(world.pool, term, plan) == 2
        assert [row.assigned_to for row in await world.shard_rows()] == ["a", None, "b", None]
        assert await world.store.assign(world.pool, term, plan) == 0
        assert await world.store.assign(world.pool, term, [Assignment(world.group_id, 0, None)]) == 1
        assert [row.assigned_to for row in await world.shard_rows()] == [None, None, "b", None]

    async def test_an_assignment_leaves_owner_and_epoch(self, world: World) -> None:
        me = await world.join()
        await world.claim(me, [0])
        term = await world.store.raise_term(world.pool, "one")
        await world.store.assign(world.pool, term, [Assignment(world.group_id, 0, "b")])
        row = await world.shard(0)
        assert (row.owner, row.epoch, row.assigned_to) == (me, 1, "b")

    async def test_a_resumed_old_leader_writes_nothing(self, world: World) -> None:
        old = await world.store.raise_term(world.pool, "one")
        new = await world.store.raise_term(world.pool, "two")
        await world.store.assign(world.pool, new, [Assignment(world.group_id, 0, "new")])
        plan = [Assignment(world.group_id, number, "old") for number in range(4)]
        assert await world.store.assign(world.pool, old, plan) == 0
        assert [row.assigned_to for row in await world.shard_rows()] == ["new", None, None, None]

    async def test_unknown_shards_and_other_pools_are_left(self, world: World, other: World) -> None:
        term = await world.store.raise_term(world.pool, "one")
        plan = [Assignment(other.group_id, 0, "a"), Assignment(world.group_id, 99, "a")]
        assert await world.store.assign(world.pool, term, plan) == 0
        assert (await other.shard(0)).assigned_to is None


class TestListing:
    async def test_all_groups_of_the_pool_in_order(self, world: World) -> None:
        second = World(world.store, world.open, world.pass_time, shards=12, pool=world.pool)
        await second.register()
        rows, _ = await world.store.shards(world.pool)
        assert [row.key for row in rows] == sorted(row.key for row in rows)
        assert len(rows) == 16

    async def test_another_pools_are_not_listed(self, world: World, other: World) -> None:
        rows, _ = await world.store.shards(world.pool)
        assert {row.group_id for row in rows} == {world.group_id}
        assert await world.store.shards(unique("none")) == ([], (await world.store.shards(unique("none")))[1])

    @pytest.mark.parametrize("state", [GroupState.DELETED, GroupState.PURGING])
    async def test_those_of_a_deleted_group_while_they_have_an_owner(self, world: World, state: GroupState) -> None:
        me = await world.join()
        claims = await world.claim(me, [1])
        await world.store.set_group_state(world.group_id, world.owner, state)
        assert [row.shard for row in await world.shard_rows()] == [1]
        await world.store.release(claims, me, NOW)
        assert await world.shard_rows() == []


Write = Callable[[World, str], Awaitable[object]]


async def claim(world: World, me: str) -> None:
    await world.claim(me, [0])


async def release(world: World, me: str) -> None:
    await world.store.release(await world.seen([3]), me, NOW)


async def plan(world: World, me: str) -> None:
    rows = await world.shard_rows()
    await world.store.assign(world.pool, rows[0].plan_term, [Assignment(world.group_id, 0, me)])


async def term(world: World, me: str) -> None:
    await world.store.raise_term(world.pool, me)


async def new_group(world: World, me: str) -> None:
    await World(world.store, world.open, world.pass_time, pool=world.pool).register()


async def delete_group(world: World, me: str) -> None:
    await world.store.set_group_state(world.group_id, world.owner, GroupState.DELETED)


async def resume_group(world: World, me: str) -> None:
    await delete_group(world, me)
    await world.register()


class TestToken:
    @pytest.mark.parametrize("write", [claim, release, plan, term, new_group, delete_group, resume_group])
    async def test_it_differs_after_a_write(self, world: World, write: Write) -> None:
        me = await world.join()
        await world.claim(me, [3])
        rows, token = await world.store.shards(world.pool)
        await write(world, me)
        rows_after, token_after = await world.store.shards(world.pool)
        assert token_after != token
        assert rows_after != rows or write is resume_group
        answer = await world.store.beat(me, 1, draining=False, report=None)
        assert answer is not None
        assert answer.shards_token == token_after

    async def test_it_stays_while_nothing_is_written(self, world: World, other: World) -> None:
        me = await world.join()
        _, token = await world.store.shards(world.pool)
        await world.create("t")
        await world.store.beat(me, 1, draining=False, report=None)
        await other.claim(await other.join(), [0])
        assert (await world.store.shards(world.pool))[1] == token

    async def test_it_does_not_return(self, world: World) -> None:
        me = await world.join()
        tokens = [(await world.store.shards(world.pool))[1]]
        for _ in range(3):
            claims = await world.claim(me, [0])
            tokens.append((await world.store.shards(world.pool))[1])
            await world.store.release(claims, me, SECOND)
            tokens.append((await world.store.shards(world.pool))[1])
        assert len(set(tokens)) == len(tokens)
