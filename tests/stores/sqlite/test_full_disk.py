"""No room: what was acknowledged stays, what cannot be written says so, and all goes on once there is room."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from durable_timer.errors import StoreFull, StoreUnavailable
from durable_timer.models.outcome import OutcomeKind
from durable_timer.models.results import CreateStatus, IfExists, Target, WhenRunning
from durable_timer.models.timer import NewTimer, TimerState
from durable_timer.stores.options import StoreOptions
from durable_timer.stores.sqlite import session
from durable_timer.stores.sqlite.store import SqliteStore
from tests.stores.contract.world import LATER, World, outcome
from tests.stores.sqlite.conftest import world_of

PAYLOAD = os.urandom(20_000)
ROOM = 4 << 20
BALLAST = 1 << 20


@pytest.fixture
async def narrow(file: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A group in a file that may not grow beyond 2 MB."""
    monkeypatch.setattr(session, "_SETTINGS", (*session._SETTINGS, "PRAGMA max_page_count = 500"))
    store = SqliteStore(file, StoreOptions())
    await store.migrate()
    world = world_of(store)
    await world.register()
    yield world
    await store.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB, where it may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mount.returncode:
        pytest.skip("no file system may be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def fill(world: World, prefix: str = "first") -> list[str]:
    """Creates by many callers at once until all are refused for want of room; the ids that were acknowledged."""
    acknowledged: list[str] = []

    async def client(name: int) -> None:
        for number in range(1000):
            new = big(world, f"{prefix}-{name}-{number}")
            try:
                await world.store.create([new], IfExists.FAIL)
            except StoreFull:
                return
            acknowledged.append(new.timer_id)
        pytest.fail("there was room for all")

    await asyncio.gather(*(client(name) for name in range(8)))
    return acknowledged


def big(world: World, timer_id: str) -> NewTimer:
    return world.new(timer_id, delay=LATER, payload=PAYLOAD)


async def present(world: World, ids: list[str]) -> set[str]:
    rows = await world.store.get(world.group_id, ids)
    return {row.timer_id for row in rows if row is not None and row.payload == PAYLOAD}


async def test_a_full_file_keeps_what_it_acknowledged(narrow: World) -> None:
    acknowledged = await fill(narrow)
    assert len(acknowledged) > 10
    assert await present(narrow, acknowledged) == set(acknowledged)
    with pytest.raises(StoreFull):
        await narrow.store.create([big(narrow, "more")], IfExists.FAIL)
    assert await narrow.find("more") is None


async def test_a_full_file_takes_again_what_finds_room(narrow: World) -> None:
    acknowledged = await fill(narrow)
    gone = [Target(timer_id) for timer_id in acknowledged[:10]]
    await narrow.store.delete(narrow.group_id, gone, WhenRunning.REFUSE)
    await narrow.store.create([big(narrow, "more")], IfExists.FAIL)
    assert await present(narrow, ["more"]) == {"more"}


async def test_a_create_that_finds_room_for_a_part_can_be_repeated(narrow: World) -> None:
    timers = [big(narrow, f"t{number}") for number in range(200)]
    with pytest.raises(StoreUnavailable) as raised:
        await narrow.store.create(timers, IfExists.FAIL)
    assert not isinstance(raised.value, StoreFull)
    there = await present(narrow, [new.timer_id for new in timers])
    assert 0 < len(there) < len(timers)
    again = await narrow.store.create([new for new in timers if new.timer_id in there], IfExists.FAIL)
    assert {result.status for result in again} == {CreateStatus.IDENTICAL}


async def test_what_waits_together_for_no_room_is_told_apart(narrow: World) -> None:
    acknowledged = await fill(narrow)
    refused, deleted, beaten = await asyncio.gather(
        narrow.store.create([big(narrow, f"n{number}") for number in range(20)], IfExists.FAIL),
        narrow.store.delete(narrow.group_id, [Target(acknowledged[0])], WhenRunning.REFUSE),
        narrow.store.beat("nobody", 1, draining=False, report=None),
        return_exceptions=True,
    )
    assert isinstance(refused, StoreFull)
    assert not isinstance(deleted, BaseException)
    assert beaten is None


async def test_a_full_disk_loses_nothing_and_goes_on_when_there_is_room(small_disk: Path) -> None:
    file = small_disk / "timers.db"
    store = SqliteStore(file, StoreOptions())
    await store.migrate()
    world = world_of(store)
    await world.register()
    executor = await world.executor()
    await world.create("due")
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(BALLAST))
    acknowledged = await fill(world)
    assert acknowledged
    assert await present(world, acknowledged) == set(acknowledged)

    ballast.unlink()
    taken = await executor.take_one()
    assert await store.settle([outcome(taken, OutcomeKind.COMPLETED, attempt=1)]) == [True]
    assert (await world.row("due")).state is TimerState.COMPLETED
    await store.create([big(world, "more")], IfExists.FAIL)

    acknowledged += ["more", *await fill(world, "second")]
    await store.close()
    reopened = SqliteStore(file, StoreOptions())
    await reopened.migrate()
    world.store = reopened
    assert await present(world, acknowledged) == set(acknowledged)
    await reopened.close()
