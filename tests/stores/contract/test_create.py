"""Create: what is kept, what `if_exists` does, batches."""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import pytest

from durable_timer.models.outcome import OutcomeKind
from durable_timer.models.results import CreateStatus, DeleteStatus, IfExists, Target, WhenRunning
from durable_timer.models.timer import (
    CallbackFormat,
    CallbackMethod,
    Header,
    ManagedBy,
    Missed,
    NewTimer,
    RetryPolicy,
    Schedule,
    SecretRef,
    Suspension,
    TakenTimer,
    Timer,
    TimerState,
)
from tests.stores.contract.world import LATER, SECOND, Executor, World, fingerprint, unset

CREATED, IDENTICAL, REPLACED, CONFLICT, EXECUTING = CreateStatus
EVERYTHING = {
    "callback_url": "https://target.example/ü?x=1&y='\"\\",
    "callback_method": CallbackMethod.PATCH,
    "callback_format": CallbackFormat.CLOUD_EVENTS,
    "content_type": "application/octet-stream",
    "payload": bytes(range(256)),
    "headers": (
        Header("x-plain", "välue"),
        Header("authorization", SecretRef("secret", "token", "namespace")),
        Header("x-beside", SecretRef("secret", "other")),
    ),
    "labels": {"app": "shop", "quote": 'a"b\\c', "empty": ""},
    "retry_policy": RetryPolicy(3, timedelta(hours=2), timedelta(milliseconds=150), 1.5, timedelta(minutes=7)),
    "callback_timeout": timedelta(seconds=7, microseconds=1),
    "starting_deadline": timedelta(days=365),
    "managed_by": ManagedBy("uid-1", 3, "run", "redrive", datetime(2030, 1, 1, 0, 0, 0, 1, tzinfo=UTC)),
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}


async def everything(world: World) -> NewTimer:
    now = await world.store.now()
    schedule = Schedule("*/5 * * * *", "Europe/Vienna", Missed.SKIP, now - LATER, now + LATER * 9)
    return world.new("t", execute_at=now - timedelta(microseconds=1), schedule=schedule, **EVERYTHING)


def same_fields(asked: NewTimer, kept: Timer | TakenTimer) -> None:
    names = {field.name for field in fields(asked)} & {field.name for field in fields(kept)} - {"suspended"}
    assert {name: getattr(kept, name) for name in names} == {name: getattr(asked, name) for name in names}


async def test_every_field_is_kept_and_taken(world: World, executor: Executor) -> None:
    asked = await everything(world)
    (result,) = await world.results(asked)
    row = await world.row("t")
    assert (result.status, result.timer) == (CREATED, row)
    same_fields(asked, row)
    taken = await executor.take_one()
    same_fields(asked, taken)
    assert (taken.uid, taken.occurrence, taken.attempt, taken.due_at) == (row.uid, 1, 0, row.due_at)
    after = await world.row("t")
    same_fields(asked, after)


async def test_what_is_unset_stays_unset(world: World, executor: Executor) -> None:
    asked = world.new("t")
    await world.results(asked)
    row = await world.row("t")
    assert (row.payload, row.content_type, row.headers, row.schedule, row.retry_policy) == (None, None, (), None, None)
    assert unset(row, "callback_method", "callback_format", "callback_timeout", "starting_deadline", "managed_by")
    assert unset(row, "traceparent", "first_attempt_at", "taken_at", "taken_epoch", "executed_at", "run")
    assert unset(row, "last_error", "last_status", "last_run_at", "last_outcome")
    assert not row.labels
    assert not row.cancel_requested
    taken = await executor.take_one()
    assert (taken.payload, taken.headers, taken.schedule) == (None, (), None)


@pytest.mark.parametrize("payload", [b"", b"\x00", b'"\\u0000"', b"x" * 100_000])
async def test_a_payload_comes_back_byte_for_byte(world: World, payload: bytes) -> None:
    await world.create("t", payload=payload, delay=LATER)
    assert (await world.row("t")).payload == payload


@pytest.mark.parametrize("timer_id", ["a", "~", "A.b_c~d:e@f-g", "x" * 255, "%27"])
async def test_ids_of_all_shapes(world: World, timer_id: str) -> None:
    await world.create(timer_id, delay=LATER)
    assert (await world.row(timer_id)).timer_id == timer_id


async def test_ids_differ_by_case(world: World) -> None:
    await world.create("a", "A", delay=LATER)
    upper, lower = await world.row("A"), await world.row("a")
    assert upper.uid != lower.uid


async def test_a_new_row_begins_at_one(world: World) -> None:
    now = await world.store.now()
    (row,) = await world.create("t", delay=LATER)
    assert (row.state, row.version, row.occurrence, row.attempt) == (TimerState.PENDING, 1, 1, 0)
    assert row.suspended is Suspension.NONE
    assert row.created_at == row.updated_at >= now
    assert -(2**63) <= row.uid < 2**64


async def test_uids_are_not_given_twice(world: World) -> None:
    rows = await world.create(*(f"t{number}" for number in range(100)), delay=LATER)
    assert len({row.uid for row in rows}) == 100


class TestTimes:
    async def test_a_delay_is_added_to_the_stores_clock(self, world: World) -> None:
        before = await world.store.now()
        (row,) = await world.create("t", delay=LATER)
        after = await world.store.now()
        assert before + LATER <= row.execute_at <= after + LATER
        assert row.due_at == row.execute_at == row.created_at + LATER

    async def test_an_instant_in_the_past_is_promised_as_given_and_due_now(self, world: World) -> None:
        now = await world.store.now()
        (row,) = await world.create("t", execute_at=now - LATER)
        assert row.execute_at == now - LATER
        assert row.due_at == row.created_at >= now

    async def test_an_instant_is_kept_to_the_stores_precision_never_earlier(self, world: World) -> None:
        precision = world.store.capabilities.precision
        asked = (await world.store.now() + LATER).replace(microsecond=123457)
        (row,) = await world.create("t", execute_at=asked)
        assert asked <= row.execute_at < asked + precision
        assert row.due_at == row.execute_at == (await world.row("t")).execute_at

    async def test_a_hundred_years_ahead(self, world: World) -> None:
        asked = (await world.store.now()).replace(microsecond=0) + timedelta(days=36525)
        (row,) = await world.create("t", execute_at=asked)
        assert row.execute_at == asked
        assert (await world.row("t")).due_at == asked

    async def test_the_longest_delay(self, world: World) -> None:
        (row,) = await world.create("t", delay=timedelta(hours=99999))
        assert row.execute_at == row.created_at + timedelta(hours=99999)

    async def test_suspended_from_the_start(self, world: World, executor: Executor) -> None:
        (row,) = await world.create("t", suspended=True)
        assert (row.suspended, row.state) == (Suspension.SUSPENDED, TimerState.PENDING)
        taken = await executor.take()
        assert taken.timers == []
        assert taken.next_due == [[None] * 4]


class TestBatches:
    async def test_results_come_by_position(self, world: World) -> None:
        await world.create("same", "other", delay=LATER)
        results = await world.results(
            world.new("b", delay=LATER),
            world.new("other", says="other"),
            world.new("a", delay=LATER),
            world.new("same", delay=LATER),
        )
        assert [result.status for result in results] == [CREATED, CONFLICT, CREATED, IDENTICAL]
        assert [result.timer.timer_id for result in results] == ["b", "other", "a", "same"]
        assert [result.timer for result in results] == [await world.row(name) for name in ["b", "other", "a", "same"]]

    @pytest.mark.parametrize(
        ("if_exists", "statuses", "kept"),
        [
            (IfExists.FAIL, [CREATED, IDENTICAL, CONFLICT, IDENTICAL], "one"),
            (IfExists.KEEP, [CREATED, IDENTICAL, IDENTICAL, IDENTICAL], "one"),
            (IfExists.REPLACE, [CREATED, IDENTICAL, REPLACED, REPLACED], "one"),
        ],
    )
    async def test_items_of_one_id_act_in_their_order(
        self, world: World, if_exists: IfExists, statuses: list[CreateStatus], kept: str
    ) -> None:
        says = ["one", "one", "two", "one"]
        results = await world.results(
            *(world.new("t", says=said, delay=LATER, callback_url=f"http://{said}.example/") for said in says),
            if_exists=if_exists,
        )
        assert [result.status for result in results] == statuses
        row = await world.row("t")
        assert row.fingerprint == fingerprint(f"t {kept}")
        assert row.callback_url == f"http://{kept}.example/"
        assert results[-1].timer == row
        assert len({result.timer.uid for result in results}) == 1

    async def test_more_than_a_thousand_items_with_duplicates_among_them(self, world: World) -> None:
        names = [f"t{number % 1000}" for number in range(1200)]
        results = await world.results(*(world.new(name, delay=LATER, payload=b"{}") for name in names))
        assert [result.status for result in results] == [CREATED] * 1000 + [IDENTICAL] * 200
        assert [result.timer.timer_id for result in results] == names
        rows = await world.store.get(world.group_id, names[:1000])
        assert [row and row.timer_id for row in rows] == names[:1000]

    async def test_groups_mix_in_one_call(self, world: World, other: World) -> None:
        results = await world.results(world.new("t", delay=LATER), other.new("t", delay=LATER))
        assert [result.status for result in results] == [CREATED, CREATED]
        assert [result.timer.group_id for result in results] == [world.group_id, other.group_id]
        assert (await world.row("t")).uid != (await other.row("t")).uid

    async def test_nothing_asked_nothing_answered(self, world: World) -> None:
        assert await world.results() == []
        assert await world.store.get(world.group_id, []) == []
        assert await world.store.settle([]) == []
        assert await world.store.run(world.group_id, []) == []
        assert await world.store.delete(world.group_id, [], WhenRunning.REFUSE) == []


class TestReplace:
    async def test_every_field_is_new(self, world: World, executor: Executor) -> None:
        asked = replace(await everything(world), managed_by=None)
        await world.results(asked)
        await executor.settle(
            await executor.take_one(), OutcomeKind.FAILED, attempt=1, last_error="broken", last_status=500
        )
        before = await world.row("t")
        bare = world.new("t", says="bare", delay=LATER)
        (result,) = await world.results(bare, if_exists=IfExists.REPLACE)
        row = await world.row("t")
        assert (result.status, result.timer) == (REPLACED, row)
        same_fields(replace(bare, delay=None, execute_at=row.execute_at, labels=row.labels), row)
        assert not row.labels
        assert (row.uid, row.created_at, row.occurrence) == (before.uid, before.created_at, 2)
        assert (row.attempt, row.last_error, row.last_status, row.executed_at) == (0, None, None, None)
        (back,) = await world.results(replace(asked, execute_at=row.execute_at + SECOND), if_exists=IfExists.REPLACE)
        assert back.status is REPLACED
        same_fields(replace(asked, execute_at=row.execute_at + SECOND), await world.row("t"))

    async def test_the_old_time_does_not_fire(self, world: World, executor: Executor) -> None:
        await world.create("t")
        await world.results(world.new("t", says="later", delay=LATER), if_exists=IfExists.REPLACE)
        assert (await executor.take()).timers == []

    async def test_a_replace_may_suspend_and_let_go(self, world: World, executor: Executor) -> None:
        await world.create("t")
        await world.results(world.new("t", says="suspended", suspended=True), if_exists=IfExists.REPLACE)
        assert (await executor.take()).timers == []
        await world.results(world.new("t", says="free"), if_exists=IfExists.REPLACE)
        assert (await executor.take_one()).timer_id == "t"

    async def test_a_create_that_finds_no_row_is_a_create(self, world: World) -> None:
        (result,) = await world.results(world.new("t"), if_exists=IfExists.REPLACE)
        assert (result.status, result.timer.occurrence) == (CREATED, 1)


async def test_after_a_delete_the_id_is_free(world: World) -> None:
    (first,) = await world.create("t", delay=LATER)
    (deleted,) = await world.store.delete(world.group_id, [Target("t")], WhenRunning.REFUSE)
    assert deleted.status is DeleteStatus.DELETED
    (result,) = await world.results(world.new("t", delay=LATER))
    assert result.status is CREATED
    assert result.timer.uid != first.uid
