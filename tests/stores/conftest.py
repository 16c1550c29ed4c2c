"""The stores that the contract suite runs against.

A new store is one class here, with `open` and `pass_time`, and one line in `BACKENDS`: every test of `contract/` then
runs on it. One that several processes may open stands in `SHARED_BACKENDS` as well, and says with `hold_takes` how a
take can be stopped before it commits: the races between processes then run on it, too.
"""

import asyncio
import contextlib
import os
import random
import shutil
import sqlite3
import tempfile
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import asyncpg
import pytest

from durable_timer.stores.base import Store
from durable_timer.stores.memory import MemoryDatabase, MemoryStore
from durable_timer.stores.registry import open_store
from tests.stores.contract.world import Executor, World
from tests.support.postgres import new_database
from tests.support.waiting import eventually

TakeHeld = Callable[[], Awaitable[object]]


class Backend(Protocol):
    """One database, and how processes come to it."""

    async def open(self) -> Store:
        """Another process's way to the migrated database, with its own connections."""
        ...

    async def pass_time(self, by: timedelta) -> None:
        """Lets that much time pass since what a store remembers: emptied groups, deaths of members, takes."""
        ...


class SharedBackend(Backend, Protocol):
    """A database that several processes may open."""

    def hold_takes(self, group_id: str) -> AbstractAsyncContextManager[TakeHeld]:
        """Stops takes of the group's timers before they commit, until the end of the context.

        The context's value waits until one is stopped.
        """
        ...


class MemoryBackend:
    """The reference model, with a clock that can be moved; calls of two processes mix in random order."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._ahead = timedelta(0)
        self._rng = random.Random(request.node.name)
        self._database = MemoryDatabase(now=lambda: datetime.now(UTC) + self._ahead)
        self._released = asyncio.Event()
        self._released.set()
        self._stopped = asyncio.Event()

    async def open(self) -> Store:
        return MemoryStore(self._database, hooks=self)

    async def before(self, name: str) -> None:
        for _ in range(self._rng.randrange(6)):
            await asyncio.sleep(0)
        if name == "take_due.commit" and not self._released.is_set():
            self._stopped.set()
            await self._released.wait()

    async def after(self, name: str) -> None:
        for _ in range(self._rng.randrange(6)):
            await asyncio.sleep(0)

    @contextlib.asynccontextmanager
    async def hold_takes(self, group_id: str) -> AsyncIterator[TakeHeld]:
        self._released.clear()
        self._stopped.clear()
        try:
            yield self._stopped.wait
        finally:
            self._released.set()

    async def pass_time(self, by: timedelta) -> None:
        self._ahead += by


class SqliteBackend:
    """A file of the test's own."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        migrated: Path = request.getfixturevalue("migrated_file")
        self._file = shutil.copy(migrated, migrated.with_name(f"{uuid.uuid4().hex}.db"))

    async def open(self) -> Store:
        return open_store(f"sqlite:///{self._file}")

    async def pass_time(self, by: timedelta) -> None:
        micros = by // timedelta(microseconds=1)
        with contextlib.closing(sqlite3.connect(self._file)) as connection, connection:
            connection.execute("UPDATE timer_groups SET emptied_at = emptied_at - ?", (micros,))
            connection.execute("UPDATE timer_members SET dead_since = dead_since - ?", (micros,))
            connection.execute("UPDATE timers SET taken_at = taken_at - ?1, updated_at = updated_at - ?1", (micros,))


class PostgresBackend:
    """One database for all tests: each has a group and a pool of its own."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._url: str = request.getfixturevalue("contract_database")

    async def open(self) -> Store:
        return open_store(self._url)

    async def pass_time(self, by: timedelta) -> None:
        connection = await asyncpg.connect(self._url)
        try:
            await connection.execute("UPDATE timer_groups SET emptied_at = emptied_at - $1::interval", by)
            await connection.execute("UPDATE timer_members SET dead_since = dead_since - $1::interval", by)
            await connection.execute(
                "UPDATE timers SET taken_at = taken_at - $1::interval, updated_at = updated_at - $1::interval", by
            )
        finally:
            await connection.close()

    @contextlib.asynccontextmanager
    async def hold_takes(self, group_id: str) -> AsyncIterator[TakeHeld]:
        name, key = f"hold_{uuid.uuid4().hex}", random.getrandbits(62)
        connection = await asyncpg.connect(self._url)

        async def stopped() -> bool:
            waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            return bool(await connection.fetchval(waiting))

        try:
            await connection.execute("SELECT pg_advisory_lock($1)", key)
            await connection.execute(f"""
                CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN PERFORM pg_advisory_xact_lock_shared({key}); RETURN NULL; END $$;
                CREATE TRIGGER {name} AFTER UPDATE ON timers FOR EACH ROW
                    WHEN (NEW.state = 1 AND NEW.group_id = '{group_id}') EXECUTE FUNCTION {name}()""")
            yield lambda: eventually(stopped)
        finally:
            await connection.execute("SELECT pg_advisory_unlock_all()")
            await connection.execute(f"DROP FUNCTION IF EXISTS {name}() CASCADE")
            await connection.close()


MEMORY = pytest.param(MemoryBackend, id="memory")
SQLITE = pytest.param(SqliteBackend, id="sqlite")
POSTGRESQL = pytest.param(PostgresBackend, id="postgresql", marks=pytest.mark.postgresql)

BACKENDS = [MEMORY, SQLITE, POSTGRESQL]
"""All stores. An `exclusive` one has one living member at a time: the second declares the first one dead."""

SHARED_BACKENDS = [MEMORY, POSTGRESQL]
"""Those that several processes may open."""


@pytest.fixture(scope="session")
def contract_database(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of the migrated PostgreSQL database that the suite's tests share."""
    try:
        server: str = request.getfixturevalue("postgres_server")
    except (RuntimeError, OSError) as error:
        pytest.skip(f"no PostgreSQL server can be started: {error}")
    with new_database(server) as url:
        asyncio.run(_migrate(url))
        yield url


@pytest.fixture(scope="session")
def migrated_file() -> Iterator[Path]:
    """A migrated SQLite file, to be copied beside itself. In memory where that can be had: nothing here is about disks."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        file = Path(folder) / "migrated.db"
        asyncio.run(_migrate(f"sqlite:///{file}"))
        yield file


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    made: Backend = request.param(request)
    return made


@pytest.fixture(params=SHARED_BACKENDS)
def shared_backend(request: pytest.FixtureRequest) -> SharedBackend:
    made: SharedBackend = request.param(request)
    return made


@pytest.fixture
async def world(backend: Backend) -> AsyncIterator[World]:
    """A registered group in a store of each kind."""
    async with _world(backend) as world:
        yield world


@pytest.fixture
async def shared(shared_backend: SharedBackend) -> AsyncIterator[World]:
    """A registered group in a store of each kind that several processes may open."""
    async with _world(shared_backend) as world:
        yield world


@pytest.fixture
async def executor(world: World) -> Executor:
    """The member that owns all shards of `world`."""
    return await world.executor()


@pytest.fixture
async def other(world: World) -> World:
    """Another group, of another pool and owner, in the same store."""
    other = World(world.store, world.open, world.pass_time)
    await other.register()
    return other


async def _migrate(url: str) -> None:
    store = open_store(url)
    await store.migrate()
    await store.close()


@contextlib.asynccontextmanager
async def _world(backend: Backend) -> AsyncIterator[World]:
    async with contextlib.AsyncExitStack() as stack:

        async def open_another() -> Store:
            store = await backend.open()
            stack.push_async_callback(store.close)
            return store

        world = World(await open_another(), open_another, backend.pass_time)
        await world.register()
        yield world
