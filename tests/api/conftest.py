"""A bridge on a real port, and a client that talks to it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from durable_timer.models.group import GroupRegistration, TimerGroupSpec
from durable_timer.stores.base import Store
from durable_timer.stores.memory import MemoryStore
from durable_timer.stores.registry import open_store
from tests.api.support import GROUP, Bridge, running_bridge

MEMORY = pytest.param("memory", id="memory")
SQLITE = pytest.param("sqlite", id="sqlite")
POSTGRESQL = pytest.param("postgresql", id="postgresql", marks=pytest.mark.postgresql)


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    """The reference model with the group `demo`."""
    async with _with_group(MemoryStore()) as store:
        yield store


@pytest.fixture(params=[SQLITE, POSTGRESQL])
async def durable_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """A store of each kind that lasts, with the group `demo`."""
    async with _with_group(_opened(request, tmp_path)) as store:
        yield store


@pytest.fixture(params=[MEMORY, SQLITE, POSTGRESQL])
async def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """A store of each kind, with the group `demo`."""
    async with _with_group(_opened(request, tmp_path)) as store:
        yield store


def _opened(request: pytest.FixtureRequest, folder: Path) -> Store:
    match request.param:
        case "memory":
            return MemoryStore()
        case "sqlite":
            return open_store(f"sqlite:///{folder}/timers.db")
        case _:
            return open_store(request.getfixturevalue("postgres_database"))


@asynccontextmanager
async def _with_group(store: Store) -> AsyncIterator[Store]:
    try:
        await store.migrate()
        await store.register_group(GroupRegistration(GROUP, "file:demo", 4, "default", TimerGroupSpec(shards=4), 1))
        yield store
    finally:
        await store.close()


@pytest.fixture
async def bridge(store: Store) -> AsyncIterator[Bridge]:
    async with running_bridge(store) as running:
        yield running


@pytest.fixture
async def durable_bridge(durable_store: Store) -> AsyncIterator[Bridge]:
    async with running_bridge(durable_store) as running:
        yield running


@pytest.fixture
async def any_client(any_store: Store) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a bridge on each store in turn."""
    async with running_bridge(any_store) as running, aiohttp.ClientSession(running.url) as session:
        yield session


@pytest.fixture
async def client(bridge: Bridge) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(bridge.url) as session:
        yield session
