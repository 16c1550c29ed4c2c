"""That cost follows what is returned: a million far-future timers, a million due ones, 3,200 idle shards."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from durable_timer.models.page import Position, TimerFilter
from durable_timer.models.timer import TimerState
from durable_timer.stores.options import StoreOptions
from durable_timer.stores.postgresql import statements
from durable_timer.stores.postgresql.connections import server_settings
from durable_timer.stores.postgresql.listing import SCAN, Listing, compiled
from durable_timer.stores.postgresql.store import PostgresStore
from tests.stores.postgresql.explain import Node, buffers, executed, generic_plan, rows_read, rows_sorted, scans
from tests.support.postgres import new_database

pytestmark = pytest.mark.postgresql

MILLION = 1_000_000
IDLE = 3_200
AHEAD = timedelta(milliseconds=100)
SETTINGS = server_settings(StoreOptions(statement_timeout=timedelta(minutes=2)))

FILL = """
INSERT INTO timers (due_at, execute_at, uid, version, created_at, updated_at, shard, occurrence, attempt, state,
  suspended, cancel_requested, group_id, timer_id, callback_url, fingerprint, labels, executed_at)
SELECT at, at, i, 1, now(), now(), i % $2::int, 1, 0, $5::int, 0, false, $1, 't-' || lpad(i::text, 7, '0'), 'http://t',
  '\\x00', CASE WHEN i % 100000 = 0 THEN '{"rare": "yes"}'::jsonb END, CASE WHEN $5::int > 1 THEN at END
FROM generate_series(1, $3::int) i, LATERAL (SELECT now() + $4::interval + i * interval '1 millisecond' AS at) a
"""
SHARDS = """
INSERT INTO timer_shards (group_id, shard, epoch, owner) SELECT $1, n, 1, 'me' FROM generate_series(0, $2::int - 1) n
"""
GROUPS = {
    "future": (16, MILLION, timedelta(days=1), 0),
    "due": (16, MILLION, timedelta(days=-1), 0),
    "idle": (IDLE, 10 * IDLE, timedelta(days=1), 0),
    "moved": (16, 10_000, timedelta(hours=1), 0),
    "over": (16, 100_000, timedelta(days=-1), 2),
    "failed": (16, 100_000, timedelta(days=-1), 3),
}
"""By group: shards, rows, when the first is due, state."""


async def fill(url: str) -> None:
    """The rows first, then the indexes: half the time."""
    store = PostgresStore(url, StoreOptions())
    await store.migrate()
    await store.close()
    connection = await asyncpg.connect(url)
    indexes = await connection.fetch(
        "SELECT indexdef FROM pg_indexes WHERE tablename = 'timers' AND indexname <> 'timers_pkey'"
    )
    await connection.execute("ALTER TABLE timers DROP CONSTRAINT timers_pkey")
    await connection.execute("DROP INDEX timers_due, timers_suspended, timers_running, timers_finished")
    for group, (shards, rows, ahead, state) in GROUPS.items():
        await connection.execute(FILL, group, shards, rows, ahead, state)
        await connection.execute(SHARDS, group, shards)
    await connection.execute("ALTER TABLE timers ADD PRIMARY KEY (group_id, timer_id)")
    for (definition,) in indexes:
        await connection.execute(definition)
    await connection.execute("VACUUM ANALYZE timers, timer_shards")
    await connection.close()


@pytest.fixture(scope="module")
def million(postgres_server: str) -> Iterator[str]:
    with new_database(postgres_server) as url:
        asyncio.run(fill(url))
        yield url


@pytest.fixture
async def connection(million: str) -> AsyncIterator[asyncpg.Connection]:
    """With the settings of the store's own connections."""
    connection = await asyncpg.connect(million, server_settings=SETTINGS)
    yield connection
    await connection.close()


def take(group: str, shards: int, limit: int) -> list[Any]:
    in_shard = max(8, -(-2 * limit // shards))
    return [
        [group] * shards, list(range(shards)), [1] * shards, [None] * shards, [in_shard] * shards, [0] * shards,
        [limit] * shards, "me", AHEAD, 1,
    ]  # fmt: skip


async def test_a_take_reads_by_the_due_index_and_by_place(connection: asyncpg.Connection) -> None:
    nodes = await generic_plan(connection, statements.TAKE)
    assert scans(nodes) == {"timers_due", "timer_shards_pkey", "Tid Scan on timers"}


@pytest.mark.parametrize(("group", "taken"), [("future", 0), ("due", 100)])
async def test_a_take_costs_what_it_returns(connection: asyncpg.Connection, group: str, taken: int) -> None:
    nodes = await executed(connection, statements.TAKE, take(group, 16, 100))
    assert rows_read(nodes) <= 16 * 2 + 16 * 14 + 2 * taken + 16
    assert rows_sorted(nodes) <= 2 * 16 * 14 + 32


async def test_the_backlog_does_not_matter(connection: asyncpg.Connection) -> None:
    """As many pages for a take with a million due as for one where they are a few."""
    many = buffers(await executed(connection, statements.TAKE, take("due", 16, 100)))
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("DELETE FROM timers WHERE group_id = 'idle'")
    await connection.execute(FILL, "idle", 16, 200, timedelta(days=-1), 0)
    few = buffers(await executed(connection, statements.TAKE, take("idle", 16, 100)))
    await transaction.rollback()
    assert many <= few * 1.5 + 100


async def test_idle_shards_cost_a_few_pages_each(connection: asyncpg.Connection) -> None:
    nodes = await executed(connection, statements.TAKE, take("idle", IDLE, 500))
    assert rows_read(nodes) <= 2 * IDLE
    assert buffers(nodes) <= 16 * IDLE
    written = sum(node.get("Shared Dirtied Blocks", 0) for node in nodes[:1])
    assert written <= 5


async def test_what_was_moved_on_costs_nothing_beside_a_held_transaction(
    connection: asyncpg.Connection, million: str
) -> None:
    """Each timer was put off again and again, and somebody's snapshot keeps the entries of where it was before."""
    untouched = buffers(await executed(connection, statements.TAKE, take("moved", 16, 100)))
    holding = await asyncpg.connect(million)
    try:
        await holding.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        await holding.fetch("SELECT FROM timers LIMIT 1")
        await connection.execute("UPDATE timers SET due_at = due_at + interval '1 hour' WHERE group_id = 'moved'")
        moved = buffers(await executed(connection, statements.TAKE, take("moved", 16, 100)))
    finally:
        await holding.close()
    assert moved <= untouched + 2 * 16


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (statements.SETTLE, {"timers_pkey"}),
        (statements.SETTLE_GONE, {"timers_pkey"}),
        (statements.DELETE, {"timers_pkey"}),
        (statements.WRITE, {"timers_pkey"}),
        (statements.MOVE, {"timers_pkey"}),
        (statements.GET, {"timers_pkey"}),
        (statements.LOCK, {"timers_pkey"}),
        (statements.PURGE_GROUP, {"timers_pkey", "timer_groups_pkey", "Tid Scan on timers"}),
        (statements.PURGE_COMPLETED, {"timers_finished", "Tid Scan on timers"}),
        (statements.PURGE_FAILED, {"timers_finished", "Tid Scan on timers"}),
        (statements.SWEEP, {"timers_running", "timer_shards_pkey", "timer_members_pkey", "Tid Scan on timers"}),
        (statements.CLAIM, {"timer_shards_pkey", "timer_members_pkey", "timer_groups_pkey", "timer_pools_pkey"}),
        (statements.RELEASE, {"timer_shards_pkey", "timer_groups_pkey", "timer_pools_pkey"}),
    ],
    ids=lambda value: value.split()[0] if isinstance(value, str) else "-".join(sorted(value)),
)
async def test_rows_are_found_by_their_keys(connection: asyncpg.Connection, statement: str, expected: set[str]) -> None:
    small = {"Seq Scan on timer_members"}
    assert scans(await generic_plan(connection, statement)) <= expected | small


async def test_a_settle_locks_in_the_order_it_is_given(connection: asyncpg.Connection) -> None:
    """One row after the other by its key, and nothing sorts or hashes them in between."""
    for statement in (statements.SETTLE, statements.SETTLE_GONE, statements.DELETE, statements.WRITE, statements.MOVE):
        kinds = {node["Node Type"] for node in await generic_plan(connection, statement)}
        assert not kinds & {"Sort", "Hash", "Hash Join", "Merge Join", "Materialize", "Bitmap Heap Scan"}, statement


SOME = datetime.now(UTC) + timedelta(days=1, minutes=3)


@pytest.mark.parametrize(
    ("group", "where", "after", "index"),
    [
        ("future", TimerFilter(), None, "timers_pkey"),
        ("future", TimerFilter(), Position(None, "t-0700000"), "timers_pkey"),
        ("future", TimerFilter(id_prefix="t-05"), None, "timers_pkey"),
        ("future", TimerFilter(labels=(("rare", "yes"),)), None, "timers_pkey"),
        ("future", TimerFilter(labels=(("none", "yes"),)), Position(None, "t-0700000"), "timers_pkey"),
        ("future", TimerFilter(states=frozenset({TimerState.PENDING, TimerState.FAILED})), None, "timers_pkey"),
        ("future", TimerFilter(states=frozenset({TimerState.RUNNING})), None, "timers_running"),
        ("future", TimerFilter(states=frozenset({TimerState.PENDING})), None, "timers_due"),
        ("future", TimerFilter(states=frozenset({TimerState.PENDING})), Position(SOME, "t-1"), "timers_due"),
        ("future", TimerFilter(due_from=SOME, due_before=SOME + timedelta(minutes=9)), None, "timers_due"),
        ("future", TimerFilter(due_from=SOME, labels=(("none", "yes"),)), None, "timers_due"),
        ("future", TimerFilter(states=frozenset({TimerState.PENDING}), id_prefix="t-09"), None, "timers_due"),
        ("due", TimerFilter(states=frozenset({TimerState.PENDING})), None, "timers_due"),
        ("idle", TimerFilter(states=frozenset({TimerState.PENDING})), None, "timers_due"),
        ("over", TimerFilter(states=frozenset({TimerState.COMPLETED})), None, "timers_finished"),
        ("failed", TimerFilter(states=frozenset({TimerState.FAILED}), executed_before=SOME), None, "timers_finished"),
        (
            "over",
            TimerFilter(states=frozenset({TimerState.COMPLETED, TimerState.FAILED})),
            Position(datetime.now(UTC) - timedelta(hours=23, minutes=59), "t-1"),
            "timers_finished",
        ),
        ("over", TimerFilter(states=frozenset({TimerState.COMPLETED}), labels=(("a", "b"),)), None, "timers_finished"),
    ],
)
async def test_a_page_is_read_in_the_order_of_an_index(
    connection: asyncpg.Connection, group: str, where: TimerFilter, after: Position | None, index: str
) -> None:
    listing = Listing(group, where, after)
    bound = 100 * GROUPS[group][0] * 2 + 1_000
    upto = None
    if listing.bounded:
        text, values = compiled(listing.boundary())
        nodes = await executed(connection, text, values)
        assert_bounded(nodes, index, SCAN + bound)
        if found := await connection.fetch(text, *values):
            upto = listing.position(tuple(found[0]))
        bound += SCAN
    text, values = compiled(listing.page(101, upto, payloads=False))
    assert_bounded(await executed(connection, text, values), index, bound)
    assert scans(await generic_plan(connection, text)) <= {
        index,
        "timers_pkey",
        "timers_suspended",
        "timer_shards_pkey",
    }


def assert_bounded(nodes: list[Node], index: str, rows: int) -> None:
    assert index in scans(nodes)
    assert not [scan for scan in scans(nodes) if "Seq" in scan]
    assert rows_read(nodes) <= rows
    assert rows_sorted(nodes) <= rows


async def test_counts_read_no_more_than_they_count(connection: asyncpg.Connection, million: str) -> None:
    for group in GROUPS:
        nodes = await executed(connection, statements.COUNTS, [group, 10_001])
        assert rows_read(nodes) <= 5 * 10_001 + 3 * GROUPS[group][0]
    store = PostgresStore(million, StoreOptions())
    due, idle, over = await store.counts("due"), await store.counts("idle"), await store.counts("over")
    await store.close()
    assert due.estimated == {"pending", "due"}
    assert 0.5 * MILLION < due.pending < 2 * MILLION
    assert due.oldest_due_at is not None
    assert (idle.due, idle.failed, idle.estimated) == (0, 0, frozenset({"pending"}))
    assert (over.pending, over.estimated) == (0, frozenset({"completed"}))
