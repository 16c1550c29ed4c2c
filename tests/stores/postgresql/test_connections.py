"""What becomes of calls when the server is away, hangs, restarts, or is kept waiting by somebody else."""

import asyncio
import os
import signal
import ssl
import time
import traceback
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from asyncpg import exceptions as pg

from durable_timer.errors import (
    ConfigError,
    SchemaVersionError,
    StatementTimeout,
    StoreError,
    StoreFull,
    StoreUnavailable,
    UnreadableRow,
)
from durable_timer.models.page import Position, TimerFilter
from durable_timer.models.results import IfExists, Target
from durable_timer.models.timer import TimerChange, TimerState
from durable_timer.stores.postgresql.connections import translated
from durable_timer.stores.postgresql.store import PostgresStore
from tests.stores.contract.world import LATER, NOW, World
from tests.stores.postgresql.conftest import OpenStore, world_of
from tests.stores.postgresql.held import waiting_backends
from tests.support.postgres import EmbeddedPostgres, free_port
from tests.support.waiting import eventually

pytestmark = pytest.mark.postgresql

SHORT = timedelta(seconds=1)


@pytest.fixture(scope="module")
def own_server() -> Iterator[EmbeddedPostgres]:
    """A server that tests may stop, kill and stall."""
    server = EmbeddedPostgres()
    try:
        server.start()
        yield server
    finally:
        server.remove()


async def answers(store: PostgresStore) -> bool:
    try:
        await store.ping()
    except StoreUnavailable:
        return False
    return True


@pytest.mark.parametrize("crash", [False, True], ids=["restart", "crash"])
async def test_nothing_acknowledged_is_lost_when_the_server_restarts(
    own_server: EmbeddedPostgres, open_store: OpenStore, crash: bool
) -> None:
    store = open_store(own_server.url)
    await store.migrate()
    world = world_of(store, open_store)
    await world.register()
    executor = await world.executor()
    await asyncio.gather(*(world.create(f"t-{number}", delay=NOW) for number in range(5)))
    taken = await executor.take()
    assert len(taken.timers) == 5

    await asyncio.to_thread(own_server.kill if crash else own_server.stop)
    begun = time.monotonic()
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await store.ping()
    assert time.monotonic() - begun < 15
    await asyncio.to_thread(own_server.start)

    await eventually(lambda: answers(store))
    rows = await store.get(world.group_id, [f"t-{number}" for number in range(5)])
    assert [row and row.state for row in rows] == [TimerState.RUNNING] * 5
    await world.create("u", delay=LATER)
    assert (await store.shards(world.pool))[0][0].owner == executor.me


async def test_a_server_that_hangs_holds_no_call_beyond_its_time(
    own_server: EmbeddedPostgres, open_store: OpenStore
) -> None:
    store = open_store(own_server.url, statement_timeout=SHORT)
    await store.migrate()
    world = world_of(store, open_store)
    await world.register()
    await world.create("t", delay=LATER)
    family = _family(own_server)
    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        calls = [
            store.get(world.group_id, ["t"]),
            store.update(world.group_id, Target("t"), TimerChange(labels={"a": "b"})),
            store.create([world.new("u", delay=LATER)], IfExists.FAIL),
            *(store.ping() for _ in range(10)),
        ]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(result) for result in results} == {StoreUnavailable}
        assert time.monotonic() - begun < 10
    finally:
        for pid in family:
            os.kill(pid, signal.SIGCONT)
    await eventually(lambda: answers(store))


async def test_a_server_that_is_not_there_is_unavailable(open_store: OpenStore) -> None:
    store = open_store(f"postgresql://postgres@127.0.0.1:{free_port()}/none")
    with pytest.raises(StoreUnavailable):
        await store.ping()
    with pytest.raises(StoreUnavailable):
        await store.migrate()


async def test_a_statement_that_waits_too_long_is_ended_by_the_server(
    open_store: OpenStore, connection: asyncpg.Connection
) -> None:
    store = open_store(statement_timeout=SHORT)
    await store.migrate()
    world = world_of(store, open_store)
    await world.register()
    await world.create("t", delay=LATER)
    async with connection.transaction():
        await connection.execute("SELECT FROM timers FOR UPDATE")
        with pytest.raises(StoreUnavailable, match="statement timeout"):
            await store.update(world.group_id, Target("t"), TimerChange(labels={"a": "b"}))
    changed = await store.update(world.group_id, Target("t"), TimerChange(labels={"a": "b"}))
    assert changed.timer is not None
    assert changed.timer.version == 2


async def test_a_take_that_is_cancelled_does_not_commit_later(
    world: World, store: PostgresStore, connection: asyncpg.Connection
) -> None:
    executor = await world.executor()
    await world.create("t", delay=NOW)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("SELECT FROM timer_shards FOR UPDATE")
    take = asyncio.create_task(executor.take())
    await eventually(lambda: waiting_backends(connection))
    take.cancel()
    with pytest.raises(asyncio.CancelledError):
        await take
    await eventually(lambda: _is_nobody_waiting(connection))
    await transaction.rollback()
    row = (await store.get(world.group_id, ["t"]))[0]
    assert row is not None
    assert row.state is TimerState.PENDING
    assert [timer.timer_id for timer in (await executor.take()).timers] == ["t"]


async def test_a_deadlock_is_tried_again(world: World, store: PostgresStore, connection: asyncpg.Connection) -> None:
    """Somebody who locks in another order than the store does."""
    await world.create("a", "b", delay=LATER)
    lock = "SELECT FROM timers WHERE timer_id = $1 FOR UPDATE"
    transaction = connection.transaction()
    await transaction.start()
    await connection.fetch(lock, "b")
    run = asyncio.create_task(store.run(world.group_id, [Target("a"), Target("b")]))
    await eventually(lambda: waiting_backends(connection))
    try:
        await connection.fetch(lock, "a")
        await transaction.commit()
    except pg.DeadlockDetectedError:
        await transaction.rollback()
    assert [result.refusal for result in await run] == [None, None]


async def test_more_calls_than_connections_take_turns(open_store: OpenStore, world: World) -> None:
    store = open_store(connections=2)
    await asyncio.gather(*(store.ping() for _ in range(50)))


async def test_closing_waits_for_what_is_under_way(
    open_store: OpenStore, world: World, connection: asyncpg.Connection
) -> None:
    store = open_store()
    await world.create("t", delay=LATER)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("SELECT FROM timers FOR UPDATE")
    update = asyncio.create_task(store.update(world.group_id, Target("t"), TimerChange(labels={"a": "b"})))
    await eventually(lambda: waiting_backends(connection))
    closing = asyncio.create_task(store.close())
    await transaction.rollback()
    await closing
    assert (await update).refusal is None


async def test_a_closed_store_opens_nothing_again(store: PostgresStore) -> None:
    await store.ping()
    await store.close()
    await store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.ping()


async def test_a_migration_goes_by_under_a_running_store(
    world: World, store: PostgresStore, connection: asyncpg.Connection
) -> None:
    """Statements that the server had prepared for the earlier table are prepared anew, in transactions too."""
    await world.create("t", delay=LATER)
    for _ in range(3):
        await store.run(world.group_id, [Target("t")])
    await connection.execute("ALTER TABLE timers ALTER COLUMN last_status TYPE bigint, ADD COLUMN later text")
    for _ in range(6):
        assert [result.refusal for result in await store.run(world.group_id, [Target("t")])] == [None]
        assert await world.find("t") is not None


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (pg.DiskFullError("could not extend file"), StoreFull),
        (pg.TooManyConnectionsError("sorry, too many clients already"), StoreUnavailable),
        (pg.AdminShutdownError("terminating connection"), StoreUnavailable),
        (pg.CannotConnectNowError("the database system is starting up"), StoreUnavailable),
        (pg.QueryCanceledError("canceling statement due to statement timeout"), StatementTimeout),
        (pg.ReadOnlySQLTransactionError("cannot execute UPDATE"), StoreUnavailable),
        (pg.InvalidPasswordError("password authentication failed"), StoreUnavailable),
        (pg.ConnectionDoesNotExistError("connection was closed"), StoreUnavailable),
        (pg.InterfaceError("pool is closing"), StoreUnavailable),
        (pg.InternalClientError("another operation is in progress"), StoreUnavailable),
        (pg.PostgresIOError("could not read block"), StoreUnavailable),
        (ConnectionRefusedError(), StoreUnavailable),
        (TimeoutError(), StoreUnavailable),
        (pg.UndefinedTableError('relation "timers" does not exist'), SchemaVersionError),
        (pg.ClientConfigurationError("invalid sslmode"), ConfigError),
        (pg.CharacterNotInRepertoireError("invalid byte sequence"), StoreError),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else type(value).__name__,
)
def test_no_exception_of_the_driver_gets_out(error: Exception, expected: type[Exception]) -> None:
    assert type(translated(error)) is expected


def test_a_certificate_that_is_not_trusted_is_named() -> None:
    """It is a ValueError, as a value that cannot be encoded is."""
    error = translated(ssl.SSLCertVerificationError(1, "certificate verify failed: unable to get issuer certificate"))
    assert type(error) is StoreUnavailable
    assert "certificate verify failed" in str(error)


async def test_an_error_says_nothing_of_a_rows_values(store: PostgresStore, world: World) -> None:
    secret = uuid.uuid4().hex
    with pytest.raises(StoreError) as failed:
        await world.create("t", payload=secret.encode(), callback_url=f"http://x/\0{secret}")
    assert secret not in "".join(traceback.format_exception(failed.value))


async def test_a_page_leaves_out_what_this_release_cannot_read(
    store: PostgresStore, world: World, connection: asyncpg.Connection
) -> None:
    for number in range(4):
        await world.create(f"t{number}")
    await connection.execute("UPDATE timers SET callback_format = 'Future' WHERE timer_id IN ('t0', 't1')")
    page = await store.list(world.group_id, TimerFilter(), limit=2, after=None, payloads=True)
    assert (page.timers, page.end) == ((), Position(None, "t1"))
    rest = await store.list(world.group_id, TimerFilter(), limit=2, after=page.end, payloads=True)
    assert [timer.timer_id for timer in rest.timers] == ["t2", "t3"]


async def test_a_row_that_this_release_cannot_read_is_named_and_left_as_it_is(
    store: PostgresStore, world: World, connection: asyncpg.Connection
) -> None:
    await world.create("t0", "t1")
    await connection.execute("UPDATE timers SET callback_format = 'Future' WHERE timer_id = 't0'")
    for call in (
        store.get(world.group_id, ["t0", "t1"]),
        store.update(world.group_id, Target("t0"), TimerChange(labels={"a": "b"})),
    ):
        with pytest.raises(UnreadableRow, match=r"'t0' .* cannot be read"):
            await call
    assert await connection.fetchval("SELECT labels FROM timers WHERE timer_id = 't0'") in (None, "{}")


async def test_a_database_that_lets_nobody_in_is_unavailable(
    open_store: OpenStore, postgres_database: str, postgres_server: str
) -> None:
    name = urlsplit(postgres_database).path.strip("/")
    admin = await asyncpg.connect(postgres_server)
    try:
        await admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        with pytest.raises(StoreUnavailable, match="gives no connection"):
            await open_store().ping()
    finally:
        await admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        await admin.close()


async def _is_nobody_waiting(connection: asyncpg.Connection) -> bool:
    return not await waiting_backends(connection)


def _family(server: EmbeddedPostgres) -> list[int]:
    """The server's processes; the first one last, so that it does not see the others stop."""
    assert server._server is not None
    pid = server._server.pid
    return [*map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()), pid]
