"""The measuring store covers the whole contract and changes nothing of it."""

import inspect

import pytest

from durable_timer.errors import StoreUnavailable
from durable_timer.metrics import Metrics
from durable_timer.stores.base import Store
from durable_timer.stores.memory import MemoryStore
from durable_timer.stores.observed import observed

CALLS = [name for name, member in vars(Store).items() if inspect.iscoroutinefunction(member)]


def test_every_call_of_the_contract_is_measured() -> None:
    measured = vars(observed(MemoryStore(), Metrics()))
    assert set(CALLS) <= measured.keys()


async def test_a_call_is_counted_under_its_name_and_answers_as_before() -> None:
    metrics = Metrics()
    store = observed(MemoryStore(), metrics)
    assert await store.groups(None) == await MemoryStore().groups(None)
    assert b'store_call_duration_seconds_count{method="groups"} 1.0' in metrics.render()
    assert b"store_errors_total{" not in metrics.render()


async def test_what_a_call_raises_is_counted_and_passed_on() -> None:
    class Down(MemoryStore):
        async def ping(self) -> None:
            raise StoreUnavailable("gone")

    metrics = Metrics()
    with pytest.raises(StoreUnavailable, match="gone"):
        await observed(Down(), metrics).ping()
    assert b'store_errors_total{error="StoreUnavailable",method="ping"} 1.0' in metrics.render()


async def test_wake_ups_pass_through() -> None:
    store = observed(MemoryStore(), Metrics())
    end = store.listen(lambda group_id, shards: None)
    end()
    assert store.capabilities == MemoryStore().capabilities
