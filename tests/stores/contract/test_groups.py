"""Groups: registration by compare-and-set, states, owners, and the order of changes."""

from datetime import timedelta

import pytest

from durable_timer.errors import GroupIdConflict, GroupPurging, ShardsMismatch, UnknownGroup
from durable_timer.models.group import CallbackSpec, Group, GroupState, TimerGroupSpec
from tests.stores.contract.world import MINUTE, World, unique

ACTIVE, DELETED, PURGING = GroupState


async def present(world: World) -> Group:
    groups, _ = await world.store.groups(None)
    return next(group for group in groups if group.group_id == world.group_id)


async def mark(world: World, state: GroupState) -> Group:
    return await world.store.set_group_state(world.group_id, world.owner, state)


async def empty(world: World) -> None:
    """Purges the group to its end."""
    await mark(world, PURGING)
    while await world.store.purge_group(world.group_id, 1000):
        pass
    await world.store.finish_purge(world.group_id)


class TestRegister:
    async def test_a_new_group_is_kept_as_said(self, world: World) -> None:
        before = await world.store.now()
        spec = TimerGroupSpec(shards=3, paused=True, callback=CallbackSpec(timeout=timedelta(seconds=7)))
        world.group_id = unique("g")
        group = await world.register(shards=3, spec=spec, generation=7)
        assert (group.owner, group.shards, group.pool, group.generation) == (world.owner, 3, world.pool, 7)
        assert (group.spec, group.state, group.emptied_at) == (spec, ACTIVE, None)
        assert before <= group.state_since <= await world.store.now()
        assert await present(world) == group
        assert [(row.shard, row.epoch, row.owner, row.drains) for row in await world.shard_rows()] == [
            (number, 0, None, ()) for number in range(3)
        ]

    async def test_the_same_again_writes_nothing(self, world: World) -> None:
        before = await present(world)
        _, change = await world.store.groups(None)
        assert await world.register() == before
        assert await present(world) == before
        newer, _ = await world.store.groups(change)
        assert world.group_id not in {group.group_id for group in newer}

    @pytest.mark.parametrize("fields", [{"spec": TimerGroupSpec(paused=True)}, {"generation": 2}])
    async def test_something_new_is_a_change(self, world: World, fields: dict[str, object]) -> None:
        before = await present(world)
        group = await world.register(**fields)
        assert group.change > before.change
        assert (group.state_since, await present(world)) == (before.state_since, group)
        assert {name: getattr(group, name) for name in fields} == fields

    async def test_another_owner_is_refused_with_the_present_ones_name(self, world: World) -> None:
        before = await present(world)
        with pytest.raises(GroupIdConflict) as refused:
            await world.register(owner="file:someone-else")
        assert refused.value.owner == world.owner
        assert await present(world) == before

    async def test_another_owner_is_refused_after_a_delete_too(self, world: World) -> None:
        await mark(world, DELETED)
        with pytest.raises(GroupIdConflict):
            await world.register(owner="file:someone-else")

    @pytest.mark.parametrize("shards", [3, 5])
    async def test_another_shard_count_is_refused(self, world: World, shards: int) -> None:
        before = await present(world)
        with pytest.raises(ShardsMismatch) as refused:
            await world.register(shards=shards)
        assert (refused.value.present, refused.value.asked) == (4, shards)
        assert (await present(world), len(await world.shard_rows())) == (before, 4)

    async def test_a_deleted_group_resumes(self, world: World) -> None:
        deleted = await mark(world, DELETED)
        group = await world.register()
        assert (group.state, group.emptied_at) == (ACTIVE, None)
        assert group.change > deleted.change
        assert group.state_since >= deleted.state_since

    async def test_a_purging_group_waits(self, world: World) -> None:
        purging = await mark(world, PURGING)
        with pytest.raises(GroupPurging):
            await world.register()
        assert await present(world) == purging


class TestShardCount:
    async def test_it_changes_once_the_group_is_empty_for_a_minute(self, world: World) -> None:
        member = await world.join()
        await world.claim(member)
        await world.store.release(await world.seen(), member, timedelta(0))
        await empty(world)
        with pytest.raises(ShardsMismatch):
            await world.register(shards=6)
        await world.pass_time(MINUTE)
        group = await world.register(shards=6)
        assert (group.shards, group.state, group.emptied_at) == (6, ACTIVE, None)
        rows = await world.shard_rows()
        assert [(row.shard, row.epoch) for row in rows] == [(0, 1), (1, 1), (2, 1), (3, 1), (4, 0), (5, 0)]

    async def test_epochs_outlive_a_smaller_count(self, world: World) -> None:
        member = await world.join()
        await world.claim(member)
        await world.store.release(await world.seen(), member, timedelta(0))
        for shards in (2, 4):
            await empty(world)
            await world.pass_time(MINUTE)
            await world.register(shards=shards)
            assert [(row.shard, row.epoch) for row in await world.shard_rows()] == [
                (number, 1) for number in range(shards)
            ]

    async def test_a_registration_begins_the_wait_anew(self, world: World) -> None:
        await empty(world)
        await world.pass_time(MINUTE)
        await world.register()
        with pytest.raises(ShardsMismatch):
            await world.register(shards=6)
        await mark(world, DELETED)
        with pytest.raises(ShardsMismatch):
            await world.register(shards=6)


class TestState:
    @pytest.mark.parametrize("state", [DELETED, PURGING])
    async def test_a_mark_is_a_change(self, world: World, state: GroupState) -> None:
        before = await present(world)
        group = await mark(world, state)
        assert (group.state, group.emptied_at) == (state, None)
        assert group.change > before.change
        assert group.state_since > before.state_since
        assert await present(world) == group

    async def test_the_same_mark_again_is_none(self, world: World) -> None:
        first = await mark(world, DELETED)
        assert await mark(world, DELETED) == first

    async def test_only_the_owner_marks(self, world: World) -> None:
        before = await present(world)
        with pytest.raises(GroupIdConflict) as refused:
            await world.store.set_group_state(world.group_id, "file:someone-else", DELETED)
        assert refused.value.owner == world.owner
        assert await present(world) == before

    async def test_an_unknown_group_cannot_be_marked(self, world: World) -> None:
        with pytest.raises(UnknownGroup):
            await world.store.set_group_state(unique("none"), world.owner, DELETED)

    async def test_a_finished_purge_leaves_a_deleted_group(self, world: World) -> None:
        await world.create("a", "b")
        await empty(world)
        group = await present(world)
        assert (group.state, group.owner, group.shards) == (DELETED, world.owner, 4)
        assert group.emptied_at is not None
        assert group.emptied_at <= await world.store.now()
        assert (await world.register()).state is ACTIVE

    async def test_a_purge_is_finished_only_where_one_is(self, world: World) -> None:
        before = await present(world)
        await world.store.finish_purge(world.group_id)
        assert await present(world) == before
        await world.store.finish_purge(unique("none"))


class TestTransfer:
    async def test_it_hands_the_group_on(self, world: World) -> None:
        before = await present(world)
        group = await world.store.transfer_group(world.group_id, "file:next", world.owner)
        assert (group.owner, group.state, group.generation) == ("file:next", ACTIVE, before.generation)
        assert group.change > before.change
        assert await present(world) == group
        with pytest.raises(GroupIdConflict):
            await world.register()
        await world.register(owner="file:next")

    async def test_without_a_from_it_takes_it_from_anyone(self, world: World) -> None:
        assert (await world.store.transfer_group(world.group_id, "file:next", None)).owner == "file:next"

    async def test_another_present_owner_refuses(self, world: World) -> None:
        before = await present(world)
        with pytest.raises(GroupIdConflict) as refused:
            await world.store.transfer_group(world.group_id, "file:next", "file:wrong")
        assert refused.value.owner == world.owner
        assert await present(world) == before

    async def test_an_unknown_group_cannot_be_handed_on(self, world: World) -> None:
        with pytest.raises(UnknownGroup):
            await world.store.transfer_group(unique("none"), "file:next", None)


class TestChanges:
    async def test_only_what_is_newer_is_answered(self, world: World) -> None:
        _, before = await world.store.groups(None)
        group = await world.register(generation=2)
        newer, last = await world.store.groups(before)
        assert group in newer
        assert all(item.change > before for item in newer)
        assert last >= group.change
        assert world.group_id not in {item.group_id for item in (await world.store.groups(last))[0]}

    async def test_the_highest_number_does_not_hang_on_what_is_answered(self, world: World) -> None:
        _, first = await world.store.groups(None)
        newer, last = await world.store.groups(first + 1000)
        assert newer == []
        assert first <= last < first + 1000

    async def test_every_write_counts_one_up(self, world: World, other: World) -> None:
        writes = [
            await world.register(generation=2),
            await other.register(generation=2),
            await mark(world, DELETED),
            await world.register(generation=2),
            await world.store.transfer_group(world.group_id, "file:next", None),
        ]
        changes = [group.change for group in writes]
        assert changes == sorted(set(changes))
