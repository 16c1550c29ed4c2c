"""PostgreSQL stores in databases of a test's own."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import asyncpg
import pytest

from durable_timer.stores.options import StoreOptions
from durable_timer.stores.postgresql.store import PostgresStore
from tests.stores.contract.world import World

OpenStore = Callable[..., PostgresStore]


@pytest.fixture
async def open_store(postgres_database: str) -> AsyncIterator[OpenStore]:
    """Opens stores on the test's database, or on another one, closed with the test."""
    opened: list[PostgresStore] = []

    def open_store(
        url: str = postgres_database, statement_timeout: timedelta = timedelta(seconds=20), connections: int = 5
    ) -> PostgresStore:
        options = StoreOptions(statement_timeout=statement_timeout, connections=connections)
        opened.append(PostgresStore(url, options))
        return opened[-1]

    yield open_store
    for store in opened:
        await store.close()


@pytest.fixture
async def store(open_store: OpenStore) -> PostgresStore:
    """A store at this release's schema."""
    store = open_store()
    await store.migrate()
    return store


@pytest.fixture
async def world(store: PostgresStore, open_store: OpenStore) -> World:
    """A registered group in it."""
    world = world_of(store, open_store)
    await world.register()
    return world


@pytest.fixture
async def connection(postgres_database: str) -> AsyncIterator[asyncpg.Connection]:
    """Somebody else's connection to the test's database."""
    connection = await asyncpg.connect(postgres_database)
    yield connection
    connection.terminate()


def world_of(store: PostgresStore, open_store: OpenStore) -> World:
    async def another() -> PostgresStore:
        return open_store()

    async def no_time(by: timedelta) -> None:
        raise AssertionError(f"time goes by itself here, not by {by}")

    return World(store, another, no_time)
