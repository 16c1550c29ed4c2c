"""Stores in files of a test's own."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from durable_timer.stores.options import StoreOptions
from durable_timer.stores.sqlite.store import SqliteStore
from tests.stores.contract.world import World

OpenStore = Callable[..., SqliteStore]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "timers.db"


@pytest.fixture
async def open_store(file: Path) -> AsyncIterator[OpenStore]:
    """Opens stores on `file`, closed with the test."""
    opened: list[SqliteStore] = []

    def open_store(statement_timeout: timedelta = timedelta(seconds=20)) -> SqliteStore:
        opened.append(SqliteStore(file, StoreOptions(statement_timeout=statement_timeout)))
        return opened[-1]

    yield open_store
    for store in opened:
        await store.close()


@pytest.fixture
async def store(open_store: OpenStore) -> SqliteStore:
    """A store at this release's schema."""
    store = open_store()
    await store.migrate()
    return store


@pytest.fixture
async def world(store: SqliteStore) -> World:
    """A registered group in it."""
    world = world_of(store)
    await world.register()
    return world


def world_of(store: SqliteStore) -> World:
    async def no_other() -> SqliteStore:
        raise AssertionError("one process owns a file")

    async def no_time(by: timedelta) -> None:
        raise AssertionError(f"time goes by itself here, not by {by}")

    return World(store, no_other, no_time)
