"""The store itself: its clock, its schema, its end."""

from datetime import UTC, datetime, timedelta

from tests.stores.contract.world import LATER, World


async def test_now_is_aware_utc_and_goes_on(world: World) -> None:
    first = await world.store.now()
    second = await world.store.now()
    assert first.utcoffset() == timedelta(0)
    assert first <= second
    assert abs(datetime.now(UTC) - second) < LATER


async def test_times_come_back_in_utc(world: World) -> None:
    (row,) = await world.create("t", delay=LATER)
    assert {getattr(row, name).utcoffset() for name in ("execute_at", "due_at", "created_at", "updated_at")} == {
        timedelta(0)
    }


async def test_it_answers(world: World) -> None:
    await world.store.ping()


async def test_migrating_again_changes_nothing(world: World) -> None:
    (row,) = await world.create("t", delay=LATER)
    await world.store.migrate()
    assert await world.row("t") == row


async def test_another_process_sees_what_one_wrote(shared: World) -> None:
    (row,) = await shared.create("t", delay=LATER)
    elsewhere = await shared.open()
    assert await elsewhere.get(shared.group_id, ["t"]) == [row]
    assert await elsewhere.groups(None) == await shared.store.groups(None)
    assert await elsewhere.shards(shared.pool) == await shared.store.shards(shared.pool)


async def test_what_was_written_outlives_the_store(shared: World) -> None:
    elsewhere = await shared.open()
    (row,) = await World(elsewhere, shared.open, shared.pass_time, group_id=shared.group_id).create("t", delay=LATER)
    await elsewhere.close()
    assert await shared.row("t") == row
