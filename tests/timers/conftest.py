"""Timers on every store there is."""

import pytest

from tests.stores.conftest import backend, contract_database, executor, migrated_file, world
from tests.stores.contract.world import World
from tests.timers.cluster import Cluster

__all__ = ["backend", "contract_database", "executor", "migrated_file", "world"]


@pytest.fixture
async def cluster(world: World) -> Cluster:
    """A cluster whose one group is registered."""
    cluster = Cluster(world)
    await cluster.register()
    return cluster
