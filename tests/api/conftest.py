"""A bridge on a real port, and a client that talks to it."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from durable_timer.models.group import GroupRegistration, TimerGroupSpec
from durable_timer.stores.base import Store
from durable_timer.stores.memory import MemoryStore
from tests.api.support import GROUP, Bridge, running_bridge


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    memory = MemoryStore()
    await memory.register_group(GroupRegistration(GROUP, "file:demo", 4, "default", TimerGroupSpec(shards=4), 1))
    yield memory
    await memory.close()


@pytest.fixture
async def bridge(store: Store) -> AsyncIterator[Bridge]:
    async with running_bridge(store) as running:
        yield running


@pytest.fixture
async def client(bridge: Bridge) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(bridge.url) as session:
        yield session
