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
    url = (
        f"sqlite:///{tmp_path}/timers.db"
        if request.param == "sqlite"
        else str(request.getfixturevalue("postgres_database"))
    )
    async with _with_group(open_store(url)) as store:
        yield store


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
async def client(bridge: Bridge) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(bridge.url) as session:
        yield session
