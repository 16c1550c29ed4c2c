"""The HTTP client's thread and the event loop's: one CPU while the loop is busy, all of them otherwise."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from durable_timer.engine import affinity
from tests.support.waiting import eventually

CPUS = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
pytestmark = pytest.mark.skipif(len(CPUS) < 2, reason="Skipped: placing threads needs Linux and two CPUs.")


class Helper(threading.Thread):
    """A thread of another name, until it is let go."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.started, self.over = threading.Event(), threading.Event()

    def run(self) -> None:
        Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text("http-client")
        self.started.set()
        self.over.wait()

    def cpus(self) -> set[int]:
        assert self.native_id is not None
        return os.sched_getaffinity(self.native_id)

    def policy(self) -> int:
        assert self.native_id is not None
        return os.sched_getscheduler(self.native_id)


@pytest.fixture
def helper() -> Iterator[Helper]:
    thread = Helper()
    thread.start()
    thread.started.wait()
    yield thread
    thread.over.set()
    thread.join()


async def _work() -> None:
    """Keeps the event loop busy."""
    while True:
        sum(range(20_000))
        await asyncio.sleep(0)


async def test_together_while_busy_and_apart_after_it(helper: Helper) -> None:
    keeping = asyncio.create_task(affinity.keep_together("http-client"))
    working = asyncio.create_task(_work())
    try:
        await eventually(lambda: len(helper.cpus()) == 1 and helper.cpus() == os.sched_getaffinity(0))
        assert helper.policy() == os.SCHED_BATCH
        working.cancel()
        await eventually(lambda: helper.cpus() == CPUS and os.sched_getaffinity(0) == CPUS)
        assert helper.policy() == os.SCHED_OTHER
    finally:
        working.cancel()
        keeping.cancel()
        await asyncio.gather(working, keeping, return_exceptions=True)
    assert os.sched_getaffinity(0) == CPUS


async def test_threads_that_begin_meanwhile_are_let_go_and_ended_ones_are_passed_over(helper: Helper) -> None:
    keeping = asyncio.create_task(affinity.keep_together("http-client"))
    working = asyncio.create_task(_work())
    try:
        await eventually(lambda: len(os.sched_getaffinity(0)) == 1)
        later = Helper()
        later.start()
        later.started.wait()
        assert len(later.cpus()) == 1
        helper.over.set()
        helper.join()
        working.cancel()
        await eventually(lambda: later.cpus() == os.sched_getaffinity(0) == CPUS and later.policy() == os.SCHED_OTHER)
        later.over.set()
        assert not keeping.done()
    finally:
        working.cancel()
        keeping.cancel()
        await asyncio.gather(working, keeping, return_exceptions=True)


async def test_ended_while_busy(helper: Helper) -> None:
    keeping = asyncio.create_task(affinity.keep_together("http-client"))
    working = asyncio.create_task(_work())
    await eventually(lambda: len(helper.cpus()) == 1)
    keeping.cancel()
    working.cancel()
    await asyncio.gather(working, keeping, return_exceptions=True)
    assert helper.cpus() == CPUS
    assert os.sched_getaffinity(0) == CPUS


async def test_forbidden(helper: Helper, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    working = asyncio.create_task(_work())
    async with asyncio.timeout(10):
        await affinity.keep_together("http-client")
    working.cancel()
    assert helper.policy() == os.SCHED_OTHER
    assert os.sched_getaffinity(0) == helper.cpus() == CPUS


async def test_one_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    await affinity.keep_together("http-client")
