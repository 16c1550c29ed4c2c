"""Members: joining, beating, dying once and for ever, leaving."""

from datetime import timedelta

from durable_timer.models.ownership import Claim, Member, MemberReport
from tests.stores.contract.world import World, unique

REPORT = MemberReport("1.2.3", ("g1", "g2"), {"g1": 0.004, "g3": 1.5})


async def member(world: World, incarnation: str) -> Member | None:
    found = [row for row in await world.store.members(world.pool) if row.incarnation == incarnation]
    assert len(found) <= 1
    return found[0] if found else None


async def living(world: World, incarnation: str) -> bool:
    row = await member(world, incarnation)
    return row is not None and not row.dead


class TestJoin:
    async def test_a_member_begins_at_beat_zero(self, world: World) -> None:
        incarnation = unique("m")
        joined = Member(incarnation, "name", world.pool, unique("h"), 0, False, False, REPORT)
        await world.store.join(joined)
        assert await world.store.members(world.pool) == [joined]

    async def test_joining_again_changes_nothing(self, world: World) -> None:
        incarnation = unique("m")
        joined = Member(incarnation, "name", world.pool, "h", 0, False, False, MemberReport())
        await world.store.join(joined)
        await world.store.beat(incarnation, 4, draining=False, report=None)
        await world.store.join(joined)
        row = await member(world, incarnation)
        assert row is not None
        assert (row.beat, row.dead) == (4, False)

    async def test_joining_again_does_not_wake_the_dead(self, world: World) -> None:
        me = await world.join()
        await world.die(me)
        await world.store.join(Member(me, "name", world.pool, None, 0, False, False, MemberReport()))
        assert not await living(world, me)

    async def test_a_newcomer_declares_its_hosts_earlier_process_dead(self, shared: World) -> None:
        host = unique("h")
        earlier = await shared.join(host=host)
        elsewhere = await shared.join(host=unique("h"))
        newcomer = await shared.join(host=host)
        assert not await living(shared, earlier)
        assert await living(shared, elsewhere)
        assert await living(shared, newcomer)

    async def test_no_host_is_nobodys_host(self, shared: World) -> None:
        first, second = await shared.join(), await shared.join()
        assert await living(shared, first)
        assert await living(shared, second)

    async def test_where_one_process_owns_the_store_all_earlier_ones_are_dead(self, world: World) -> None:
        first = await world.join()
        second = await world.join()
        assert await living(world, second)
        assert await living(world, first) is not world.store.capabilities.exclusive


class TestBeat:
    async def test_it_writes_the_counter_and_tells_the_members(self, world: World) -> None:
        me = await world.join()
        answer = await world.store.beat(me, 1, draining=False, report=None)
        assert answer is not None
        assert list(answer.members) == await world.store.members(world.pool)
        assert [(row.incarnation, row.beat) for row in answer.members] == [(me, 1)]
        assert answer.shards_token == (await world.store.shards(world.pool))[1]

    async def test_it_lists_the_dead_and_only_its_pool(self, shared: World) -> None:
        me, dead = await shared.join(), await shared.join()
        await shared.join(pool=unique("p"))
        await shared.die(dead)
        answer = await shared.store.beat(me, 1, draining=False, report=None)
        assert answer is not None
        assert {(row.incarnation, row.dead) for row in answer.members} == {(me, False), (dead, True)}

    async def test_a_report_is_kept_until_the_next(self, world: World) -> None:
        me = await world.join()
        await world.store.beat(me, 1, draining=False, report=REPORT)
        await world.store.beat(me, 2, draining=False, report=None)
        row = await member(world, me)
        assert row is not None
        assert (row.beat, row.report) == (2, REPORT)

    async def test_one_that_arrives_late_takes_nothing_back(self, world: World) -> None:
        me = await world.join()
        await world.store.beat(me, 5, draining=True, report=None)
        assert await world.store.beat(me, 4, draining=False, report=None) is not None
        row = await member(world, me)
        assert row is not None
        assert (row.beat, row.draining) == (5, True)

    async def test_of_a_dead_member_it_is_refused(self, world: World) -> None:
        me = await world.join()
        await world.die(me)
        assert await world.store.beat(me, 1, draining=True, report=REPORT) is None
        row = await member(world, me)
        assert row is not None
        assert (row.dead, row.beat, row.draining, row.report) == (True, 0, False, MemberReport())

    async def test_of_a_missing_member_it_is_refused(self, world: World) -> None:
        me = unique("m")
        assert await world.store.beat(me, 1, draining=False, report=None) is None
        assert await member(world, me) is None

    async def test_after_leaving_it_is_refused(self, world: World) -> None:
        me = await world.join()
        await world.store.leave(me)
        assert await world.store.beat(me, 1, draining=False, report=None) is None
        assert await member(world, me) is None


class TestDeath:
    async def test_it_is_declared_where_the_counter_is_the_one_seen(self, world: World) -> None:
        me = await world.join()
        await world.store.beat(me, 3, draining=False, report=None)
        assert await world.store.declare_dead(me, 3)
        assert not await living(world, me)

    async def test_a_beat_since_then_saves(self, world: World) -> None:
        me = await world.join()
        await world.store.beat(me, 3, draining=False, report=None)
        assert not await world.store.declare_dead(me, 2)
        assert await living(world, me)
        assert await world.store.beat(me, 4, draining=False, report=None) is not None

    async def test_it_is_for_ever(self, world: World) -> None:
        me = await world.join()
        await world.die(me)
        assert await world.store.declare_dead(me, 0)
        assert await world.store.declare_dead(me, 99)
        assert await world.store.beat(me, 1, draining=False, report=None) is None

    async def test_who_is_gone_is_dead(self, world: World) -> None:
        assert await world.store.declare_dead(unique("m"), 0)


class TestLeave:
    async def test_the_row_goes_and_the_shards_are_free(self, world: World) -> None:
        me = await world.join()
        claims = await world.claim(me)
        await world.store.leave(me)
        assert await member(world, me) is None
        successor = await world.join()
        assert await world.store.claim(claims, successor) == [2] * 4

    async def test_rows_dead_for_ten_minutes_go_with_it(self, world: World) -> None:
        dead, me = await world.join(), await world.join()
        await world.store.declare_dead(dead, 0)
        await world.store.leave(me)
        assert await member(world, dead) is not None
        await world.pass_time(timedelta(minutes=10, seconds=1))
        await world.store.leave(await world.join())
        assert await member(world, dead) is None

    async def test_leaving_twice_is_no_error(self, world: World) -> None:
        me = await world.join()
        await world.store.leave(me)
        await world.store.leave(me)

    async def test_a_dead_member_cannot_claim(self, world: World) -> None:
        me = await world.join()
        await world.die(me)
        assert await world.store.claim([Claim(world.group_id, 0, 0)], me) == [None]
        assert await world.store.claim([Claim(world.group_id, 0, 0)], unique("m")) == [None]
        assert (await world.shard(0)).epoch == 0
