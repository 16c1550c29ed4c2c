"""Look-ups of target names: one at a time for a name, remembered, and none in the way of another."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from durable_timer.engine.names import Names, TargetDenied

SILENT = threading.Event()


class Resolver:
    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.answers: dict[str, list[str]] = {}

    def __call__(self, host: str, port: int) -> list[str]:
        self.calls[host] += 1
        if host.startswith("silent"):
            SILENT.wait(10)
            raise OSError("no answer")
        return self.answers[host]


class Ticking:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def resolver() -> Resolver:
    return Resolver()


@pytest.fixture
def clock() -> Ticking:
    return Ticking()


@pytest.fixture
async def names(resolver: Resolver, clock: Ticking) -> AsyncIterator[Names]:
    SILENT.clear()
    made = Names(clock, resolver)
    yield made
    SILENT.set()
    await made.close()


async def test_a_silent_name_is_asked_for_once_and_holds_up_no_other(names: Names, resolver: Resolver) -> None:
    resolver.answers["good"] = ["192.0.2.1"]
    waiting = [asyncio.create_task(names.address("silent", 80)) for _ in range(100)]
    await asyncio.sleep(0)
    begun = time.monotonic()
    assert await names.address("good", 80) == "192.0.2.1"
    assert time.monotonic() - begun < 2
    SILENT.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(result, OSError) for result in results)
    assert resolver.calls["silent"] == 1


async def test_a_failure_is_remembered_for_seconds(names: Names, resolver: Resolver, clock: Ticking) -> None:
    SILENT.set()
    for _ in range(3):
        with pytest.raises(OSError, match="no answer"):
            await names.address("silent", 80)
    assert resolver.calls["silent"] == 1
    clock.now += 6
    with pytest.raises(OSError, match="no answer"):
        await names.address("silent", 80)
    assert resolver.calls["silent"] == 2


async def test_an_old_answer_serves_while_a_new_one_is_looked_up(
    names: Names, resolver: Resolver, clock: Ticking
) -> None:
    resolver.answers["moving"] = ["192.0.2.1"]
    assert await names.address("moving", 80) == "192.0.2.1"
    resolver.answers["moving"] = ["192.0.2.2"]
    clock.now += 31
    assert await names.address("moving", 80) == "192.0.2.1"
    await asyncio.gather(*names._under_way.values())
    assert await names.address("moving", 80) == "192.0.2.2"


async def test_a_name_with_one_private_address_is_denied(names: Names, resolver: Resolver) -> None:
    resolver.answers["sly"] = ["192.0.2.1", "127.0.0.1"]
    with pytest.raises(TargetDenied, match=r"sly resolves to 127\.0\.0\.1"):
        await names.address("sly", 80)


async def test_after_a_failed_connection_the_name_is_looked_up_anew(names: Names, resolver: Resolver) -> None:
    resolver.answers["moving"] = ["192.0.2.1"]
    await names.address("moving", 80)
    names.forget("moving", 80)
    resolver.answers["moving"] = ["192.0.2.2"]
    await names.address("moving", 80)
    await asyncio.gather(*names._under_way.values())
    assert await names.address("moving", 80) == "192.0.2.2"


async def test_a_silent_domain_holds_up_its_own_names_alone_and_in_bounds(names: Names, resolver: Resolver) -> None:
    resolver.answers["good.example"] = ["192.0.2.1"]
    waiting = [asyncio.create_task(names.address(f"silent{n}.evil.example", 80)) for n in range(2000)]
    await asyncio.sleep(0.05)
    assert await names.address("good.example", 80) == "192.0.2.1"
    assert len(names._under_way) <= 8 + 256
    assert sum(task.done() for task in waiting) == 2000 - 8 - 256
    SILENT.set()
    assert all(isinstance(r, OSError) for r in await asyncio.gather(*waiting, return_exceptions=True))
    assert names._domains == {}
