"""The thread that writes: what shares a transaction, whose an error is, and who waits for whom."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from durable_timer.clock import SystemClock
from durable_timer.errors import StoreUnavailable, UnknownGroup
from durable_timer.models.results import IfExists
from durable_timer.stores.sqlite.store import SqliteStore
from durable_timer.stores.sqlite.transaction import Transaction
from durable_timer.stores.sqlite.writer import Wakes, Writer
from tests.stores.contract.world import LATER, World
from tests.stores.sqlite.conftest import OpenStore
from tests.support.waiting import eventually

WITHIN = 30.0


class Desk:
    """A writer, a table to write to, and a gate that keeps its thread busy while calls come in."""

    def __init__(self, file: Path, seconds: float) -> None:
        self.wakes: list[Wakes] = []
        self.writer = Writer(file, SystemClock(), seconds=seconds, on_wakes=self.wakes.append)
        self.gate = threading.Event()
        self.entered = threading.Event()

    async def shut(self) -> None:
        """Keeps the thread in a transaction until the gate opens."""
        self.busy = asyncio.create_task(self.writer.write(self.wait))
        await eventually(self.entered.is_set)

    def wait(self, _: Transaction) -> None:
        self.entered.set()
        assert self.gate.wait(WITHIN)

    async def words(self) -> list[str]:
        return await self.writer.write(
            lambda transaction: [row[0] for row in transaction.connection.execute("SELECT word FROM words")]
        )


def say(transaction: Transaction, word: str) -> int:
    """Answers the transaction's instant."""
    transaction.connection.execute("INSERT INTO words VALUES (?)", (word,))
    return transaction.micros


def say_all(transaction: Transaction, words: Sequence[str]) -> list[int]:
    transaction.connection.executemany("INSERT INTO words VALUES (?)", [(word,) for word in words])
    return [len(words)] * len(words)


def fail(transaction: Transaction, word: str) -> None:
    say(transaction, word)
    raise ValueError(word)


def refuse(transaction: Transaction) -> None:
    raise UnknownGroup("g")


def nothing(transaction: Transaction) -> None:
    pass


@pytest.fixture
async def desk(file: Path) -> AsyncIterator[Desk]:
    desk = Desk(file, WITHIN)
    await desk.writer.write(
        lambda transaction: transaction.connection.execute("CREATE TABLE words (word TEXT CHECK (word <> 'bad'))")
    )
    yield desk
    desk.gate.set()
    assert await desk.writer.close()


async def test_what_waits_shares_a_transaction(desk: Desk) -> None:
    await desk.shut()
    calls = [asyncio.create_task(desk.writer.write(say, f"w{number}")) for number in range(20)]
    await asyncio.sleep(0)
    desk.gate.set()
    assert len(set(await asyncio.gather(*calls))) == 1
    await desk.busy
    assert sorted(await desk.words()) == sorted(f"w{number}" for number in range(20))


async def test_joint_work_comes_as_one(desk: Desk) -> None:
    await desk.shut()
    calls = [asyncio.create_task(desk.writer.write_jointly(say_all, f"w{number}")) for number in range(20)]
    await asyncio.sleep(0)
    desk.gate.set()
    assert await asyncio.gather(*calls) == [20] * 20


async def test_an_error_is_its_callers_alone(desk: Desk) -> None:
    await desk.shut()
    calls = [
        asyncio.create_task(call)
        for call in (
            desk.writer.write(say, "first"),
            desk.writer.write(fail, "lost"),
            desk.writer.write(refuse),
            desk.writer.write_jointly(say_all, "joint"),
            desk.writer.write_jointly(say_all, "bad"),
            desk.writer.write(say, "last"),
        )
    ]
    await asyncio.sleep(0)
    desk.gate.set()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(answer) for answer in answers] == [int, ValueError, UnknownGroup, int, StoreUnavailable, int]
    assert sorted(await desk.words()) == ["first", "joint", "last"]


async def test_a_refusal_costs_others_nothing(desk: Desk) -> None:
    await desk.shut()
    said = [asyncio.create_task(desk.writer.write(say, word)) for word in ("a", "b")]
    refused = asyncio.create_task(desk.writer.write(refuse))
    await asyncio.sleep(0)
    desk.gate.set()
    with pytest.raises(UnknownGroup):
        await refused
    assert len(set(await asyncio.gather(*said))) == 1


async def test_what_nobody_waits_for_is_not_begun(desk: Desk) -> None:
    await desk.shut()
    gone = asyncio.create_task(desk.writer.write(say, "gone"))
    kept = asyncio.create_task(desk.writer.write(say, "kept"))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    desk.gate.set()
    await kept
    assert await desk.words() == ["kept"]


async def test_who_waits_too_long_is_told_and_nothing_is_done(desk: Desk, file: Path) -> None:
    hasty = Desk(file, 0.05)
    busy = asyncio.create_task(hasty.writer.write(hasty.wait))
    late = asyncio.create_task(hasty.writer.write(say, "late"))
    with pytest.raises(StoreUnavailable, match=r"0\.05 s"):
        await late
    hasty.gate.set()
    await asyncio.gather(busy, return_exceptions=True)
    assert await hasty.writer.close()
    assert await desk.words() == []


async def test_a_statement_without_end_is_ended(file: Path) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    desk = Desk(file, 0.2)
    with pytest.raises(StoreUnavailable):
        await desk.writer.write(lambda transaction: transaction.connection.execute(endless).fetchall())
    await eventually(lambda: _answers(desk))
    assert await desk.writer.close()


async def _answers(desk: Desk) -> bool:
    try:
        await desk.writer.write(nothing)
    except StoreUnavailable:
        return False
    return True


async def test_urgent_calls_go_before_heavy_ones(desk: Desk) -> None:
    await desk.shut()
    order: list[str] = []

    async def call(name: str, *, weight: int = 1, urgent: bool = False) -> None:
        await desk.writer.write_jointly(say_all, name, weight=weight, urgent=urgent)
        order.append(name)

    tasks = [asyncio.create_task(call(f"heavy {number}", weight=512)) for number in range(3)]
    tasks.append(asyncio.create_task(call("urgent", urgent=True)))
    await asyncio.sleep(0)
    desk.gate.set()
    await asyncio.gather(*tasks)
    assert set(order[:2]) == {"heavy 0", "urgent"}
    assert order[2:] == ["heavy 1", "heavy 2"]


async def test_a_take_does_not_count_the_time_of_what_it_shares_a_transaction_with(desk: Desk) -> None:
    await desk.shut()
    begun, over = threading.Event(), threading.Event()

    def slow(transaction: Transaction) -> int:
        begun.set()
        assert over.wait(WITHIN)
        return transaction.micros

    async def take() -> int:
        return await desk.writer.write_urgently(lambda transaction: transaction.micros)

    calls = [asyncio.create_task(take()), asyncio.create_task(desk.writer.write(slow))]
    await asyncio.sleep(0)
    desk.gate.set()
    await eventually(begun.is_set)
    between = time.time_ns() // 1000
    await eventually(lambda: time.time_ns() // 1000 > between)
    over.set()
    urgent, ordinary = await asyncio.gather(*calls)
    assert ordinary <= between < urgent


async def test_wake_ups_come_with_the_commit_once_a_group(desk: Desk) -> None:
    await desk.shut()

    def wake(transaction: Transaction, shard: int) -> None:
        transaction.wake_if_soon("g", shard, transaction.micros)
        transaction.wake_if_soon("far", shard, transaction.micros + 3_000_000)

    calls = [asyncio.create_task(desk.writer.write(wake, shard)) for shard in (1, 2, 2)]
    await asyncio.sleep(0)
    desk.gate.set()
    await asyncio.gather(*calls)
    assert desk.wakes == [{"g": {1, 2}}]


async def test_a_bulk_create_lets_others_in_between(world: World, store: SqliteStore) -> None:
    bulk = [world.new(f"bulk{number}", delay=LATER) for number in range(20_000)]
    order: list[str] = []

    async def create() -> None:
        results = await store.create(bulk, IfExists.FAIL)
        assert [result.timer.timer_id for result in results] == [new.timer_id for new in bulk]
        order.append("bulk")

    async def settle() -> None:
        for _ in range(3):
            await store.settle([])
            order.append("urgent")

    await asyncio.gather(create(), settle())
    assert order == ["urgent", "urgent", "urgent", "bulk"]


async def test_a_reader_that_takes_too_long_is_ended_and_the_next_served(open_store: OpenStore) -> None:
    store = open_store(timedelta(milliseconds=200))
    await store.migrate()
    endless = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    calls = [store._readers.read(lambda connection: connection.execute(endless).fetchall()) for _ in range(6)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(answer) for answer in answers} == {StoreUnavailable}
    assert (await store.groups(None))[0] == []
