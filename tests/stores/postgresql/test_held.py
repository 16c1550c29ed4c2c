"""Each statement against another's uncommitted write on the same row: it waits, or passes by, and then decides anew."""

from datetime import timedelta

import asyncpg
import pytest

from durable_timer.errors import GroupIdConflict
from durable_timer.models.outcome import OutcomeKind
from durable_timer.models.ownership import Assignment, MemberReport
from durable_timer.models.results import CreateStatus, DeleteStatus, IfExists, Refusal, Target, WhenRunning
from durable_timer.models.timer import TimerChange, TimerState
from durable_timer.stores.base import DRAIN_KEPT
from durable_timer.stores.postgresql import statements
from tests.stores.contract.world import LATER, NOW, World, outcome
from tests.stores.postgresql.held import Held

pytestmark = pytest.mark.postgresql


@pytest.fixture(params=[True, False], ids=["committed", "rolled-back"])
def held(request: pytest.FixtureRequest, connection: asyncpg.Connection) -> Held:
    return Held(connection, request.param)


async def test_a_take_waits_for_a_claim_and_yields_to_it(world: World, held: Held) -> None:
    executor = await world.executor()
    await world.create("t", delay=NOW)
    await held("UPDATE timer_shards SET epoch = epoch + 1, owner = 'another'")
    taken = await held.against(executor.take())
    assert [timer.timer_id for timer in taken.timers] == ([] if held.commit else ["t"])
    assert (await world.row("t")).state is (TimerState.PENDING if held.commit else TimerState.RUNNING)


async def test_a_take_without_anything_due_waits_for_nobody(world: World, held: Held) -> None:
    executor = await world.executor()
    await world.create("t", delay=LATER)
    await held("UPDATE timer_shards SET epoch = epoch + 1")
    assert (await executor.take()).timers == []
    await held.end()


async def test_a_claim_waits_for_a_take_so_that_its_sweep_sees_it(world: World, held: Held) -> None:
    executor = await world.executor()
    timer_id = world.id_in(0)
    await world.create(timer_id, delay=NOW)
    claim = executor.claims[0]
    await held(
        statements.TAKE,
        [claim.group_id], [claim.shard], [claim.epoch], [None], [8], [0], [8], executor.me, NOW, 77,
    )  # fmt: skip
    await world.die(executor.me)
    heir = await world.join()
    await held.against(world.claim(heir, [0]))
    swept = await world.store.sweep(await world.seen([0]), heir, [], LATER, 10, drains_over=None)
    assert swept.recovered == ({(world.group_id, 0): 1} if held.commit else {})


@pytest.mark.parametrize("write", ["DELETE FROM timers", "UPDATE timers SET due_at = now() + interval '1 hour'"])
async def test_a_take_passes_by_a_timer_that_another_writes(world: World, held: Held, write: str) -> None:
    executor = await world.executor()
    timer_id = world.id_in(0)
    await world.create(timer_id, delay=NOW)
    await held(write)
    taken = await executor.take()
    assert taken.timers == []
    assert taken.next_due[0][0] == 0.0
    await held.end()
    assert [timer.timer_id for timer in (await executor.take()).timers] == ([] if held.commit else [timer_id])


@pytest.mark.parametrize("if_exists", IfExists)
async def test_a_create_waits_for_another_of_the_same_id(world: World, held: Held, if_exists: IfExists) -> None:
    other = world.new("t", says="another", delay=LATER)
    await held(
        statements.CREATE_DELAYED,
        [other.group_id], [other.timer_id], [other.shard], [1], ["http://t"], [other.fingerprint], [None], [None],
        [10**10],
    )  # fmt: skip
    (result,) = await held.against(world.results(world.new("t", delay=LATER), if_exists=if_exists))
    found = {
        IfExists.FAIL: CreateStatus.CONFLICT,
        IfExists.KEEP: CreateStatus.IDENTICAL,
        IfExists.REPLACE: CreateStatus.REPLACED,
    }[if_exists]
    assert result.status is (found if held.commit else CreateStatus.CREATED)


async def test_a_create_waits_for_a_delete_of_the_same_id(world: World, held: Held) -> None:
    await world.create("t", delay=LATER)
    await held("DELETE FROM timers")
    (result,) = await held.against(world.results(world.new("t", says="new", delay=LATER)))
    assert result.status is (CreateStatus.CREATED if held.commit else CreateStatus.CONFLICT)


async def test_a_delete_waits_for_a_take(world: World, held: Held) -> None:
    await world.create("t", delay=NOW)
    await held("UPDATE timers SET state = 1, run = 5, taken_epoch = 1")
    (result,) = await held.against(world.store.delete(world.group_id, [Target("t")], WhenRunning.REFUSE))
    assert result.refusal is (Refusal.EXECUTING if held.commit else None)


async def test_a_stop_waits_for_a_take(world: World, held: Held) -> None:
    await world.create("t", delay=NOW)
    await held("UPDATE timers SET state = 1, run = 5, taken_epoch = 1")
    (result,) = await held.against(world.store.delete(world.group_id, [Target("t")], WhenRunning.STOP))
    assert result.status is (DeleteStatus.STOPPING if held.commit else DeleteStatus.DELETED)


async def test_an_update_waits_for_a_take(world: World, held: Held) -> None:
    await world.create("t", delay=NOW)
    await held("UPDATE timers SET state = 1, run = 5, taken_epoch = 1")
    result = await held.against(world.store.update(world.group_id, Target("t"), TimerChange(delay=LATER)))
    assert result.refusal is (Refusal.EXECUTING if held.commit else None)


@pytest.mark.parametrize("kind", [OutcomeKind.COMPLETED, OutcomeKind.RETRY, OutcomeKind.DEFERRED])
@pytest.mark.parametrize("forget", [True, False])
async def test_a_settle_waits_for_a_stop_and_obeys_it(
    world: World, held: Held, kind: OutcomeKind, forget: bool
) -> None:
    executor = await world.executor()
    await world.create("t", delay=NOW)
    taken = await executor.take_one()
    await held("UPDATE timers SET cancel_requested = true")
    settled = await held.against(world.store.settle([outcome(taken, kind, attempt=1, delay=LATER, forget=forget)]))
    assert settled == [True]
    gone = held.commit or (forget and kind is OutcomeKind.COMPLETED)
    assert (await world.find("t") is None) is gone


async def test_a_settle_of_a_row_that_is_recovered_meanwhile_is_not_applied(world: World, held: Held) -> None:
    executor = await world.executor()
    await world.create("t", delay=NOW)
    taken = await executor.take_one()
    await held("UPDATE timers SET state = 0, run = NULL, taken_epoch = NULL")
    settled = await held.against(world.store.settle([outcome(taken, OutcomeKind.COMPLETED, attempt=1)]))
    assert settled == [not held.commit]


async def test_a_sweep_and_a_purge_pass_by_what_another_writes(world: World, held: Held) -> None:
    executor = await world.executor()
    await world.create("t", delay=NOW)
    await executor.take_one()
    await held("UPDATE timers SET attempt = 1")
    assert (await executor.sweep(own_age=timedelta(0))).recovered == {}
    assert await world.store.purge(world.group_id, NOW, NOW, 10) == 0
    await held.end()


async def test_a_sweep_says_how_many_lost_rows_it_found_when_it_could_not_have_all(world: World, held: Held) -> None:
    """The oldest of 30, so that each page of 10 chooses it, is locked by another: its page says that there may be more."""
    executor = await world.executor()
    locked, *others = [world.id_in(0) for _ in range(30)]
    await world.create(locked, *others, delay=NOW)
    await executor.take()
    await held.connection.execute(
        "UPDATE timers SET updated_at = updated_at - interval '1 s' WHERE timer_id = $1", locked
    )
    await held("UPDATE timers SET attempt = 7 WHERE timer_id = $1", locked)
    swept = [await executor.sweep(own_age=timedelta(0), limit=10) for _ in range(5)]
    assert [sum(each.recovered.values()) for each in swept] == [9, 9, 9, 2, 0]
    assert [each.found for each in swept] == [10, 10, 10, 3, 1]
    assert (await world.row(locked)).state is TimerState.RUNNING
    await held.end()
    last = await executor.sweep(own_age=timedelta(0), limit=10)
    assert (last.recovered, last.found) == ({(world.group_id, 0): 1}, 1)
    assert {(await world.row(name)).state for name in (locked, *others)} == {TimerState.PENDING}


async def test_a_beat_waits_for_a_declaration_of_death(world: World, held: Held) -> None:
    me = await world.join()
    await held(statements.DECLARE_DEAD, me, 0)
    answer = await held.against(world.store.beat(me, 1, draining=False, report=MemberReport()))
    assert (answer is None) is held.commit


async def test_a_declaration_of_death_waits_for_a_beat(world: World, held: Held) -> None:
    me = await world.join()
    await held("UPDATE timer_members SET beat = 1 WHERE incarnation = $1", me)
    assert await held.against(world.store.declare_dead(me, 0)) is not held.commit


async def test_two_claimants_of_one_shard(world: World, held: Held) -> None:
    dead, first, second = [await world.join() for _ in range(3)]
    await world.claim(dead, [0])
    await world.die(dead)
    (seen,) = await world.seen([0])
    await held(statements.CLAIM, [seen.group_id], [seen.shard], [seen.epoch], first, DRAIN_KEPT)
    (epoch,) = await held.against(world.store.claim([seen], second))
    assert epoch == (None if held.commit else seen.epoch + 1)


async def test_a_release_waits_for_a_claim(world: World, held: Held) -> None:
    executor = await world.executor()
    await held("UPDATE timer_shards SET epoch = epoch + 1, owner = 'another'")
    assert await held.against(executor.release()) == [not held.commit] * 4


async def test_an_assignment_waits_for_a_newer_term(world: World, held: Held) -> None:
    term = await world.store.raise_term(world.pool, "planner")
    await held("UPDATE timer_shards SET plan_term = plan_term + 1")
    (row, *_) = await world.shard_rows()
    written = await held.against(world.store.assign(world.pool, term, [Assignment(*row.key, "somebody")]))
    assert written == (0 if held.commit else 1)


async def test_registrations_number_their_changes_in_the_order_of_their_commits(world: World, held: Held) -> None:
    """A reader that comes between two registrations leaves none of them out."""
    _, before = await world.store.groups(None)
    await held(statements.NEXT_CHANGE)
    await held("UPDATE timer_groups SET change = $1, generation = 7", before + 1)
    other = World(world.store, world.open, world.pass_time)
    _, between = await world.store.groups(before)
    assert between == before
    registered = await held.against(other.register())
    assert registered.change == before + (2 if held.commit else 1)
    groups, after = await world.store.groups(between)
    assert after == registered.change
    assert {group.group_id for group in groups} >= {other.group_id} | ({world.group_id} if held.commit else set())


async def test_two_that_register_one_new_group(world: World, held: Held) -> None:
    other = World(world.store, world.open, world.pass_time)
    said = other.registration()
    await held(statements.INSERT_GROUP, said.group_id, "another", 4, said.pool, "{}", 1)
    if held.commit:
        with pytest.raises(GroupIdConflict, match="another"):
            await held.against(other.register())
    else:
        assert (await held.against(other.register())).owner == other.owner
