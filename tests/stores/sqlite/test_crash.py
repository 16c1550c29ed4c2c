"""kill -9 in the middle of work: what was acknowledged is there, and what ran is found again."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from durable_timer.models.results import CreateStatus, IfExists
from durable_timer.models.timer import TimerState
from durable_timer.stores.options import StoreOptions
from durable_timer.stores.sqlite.store import SqliteStore
from tests.stores.contract.world import LATER, NOW, World
from tests.stores.sqlite.conftest import world_of

ACKNOWLEDGED = 400

WRITE = """
import asyncio, sys
from pathlib import Path
from datetime import timedelta
from durable_timer.models.group import GroupRegistration, TimerGroupSpec
from durable_timer.models.results import IfExists
from durable_timer.models.timer import NewTimer
from durable_timer.planning.sharding import shard_of
from durable_timer.stores.options import StoreOptions
from durable_timer.stores.sqlite.store import SqliteStore

def new(name):
    return NewTimer(group_id="g", timer_id=name, shard=shard_of(name, 4), callback_url="http://target.example/hook",
                    fingerprint=name.encode(), delay=timedelta(hours=1), payload=name.encode() * 100)

async def client(store, name):
    number = 0
    while True:
        names = [f"{name}-{number + offset}" for offset in range(1 + name)]
        number += len(names)
        await store.create([new(timer_id) for timer_id in names], IfExists.FAIL)
        print(*names, sep="\\n", flush=True)

async def main():
    store = SqliteStore(Path(sys.argv[1]), StoreOptions())
    await store.migrate()
    await store.register_group(GroupRegistration("g", "file:x", 4, "p", TimerGroupSpec(), 1))
    await asyncio.gather(*(client(store, name) for name in range(12)))

asyncio.run(main())
"""


def acknowledged_until_killed(file: Path) -> Sequence[str]:
    """The ids that a process acknowledged until it was killed, while more were under way."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITE, str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert writer.stderr is not None
        lines = [writer.stdout.readline() for _ in range(ACKNOWLEDGED)]
        writer.send_signal(signal.SIGKILL)
        rest, errors = writer.communicate(timeout=60)
    lines += rest.splitlines(keepends=True)
    assert errors == ""
    return [line.rstrip("\n") for line in lines if line.endswith("\n")]


@pytest.mark.parametrize("attempt", range(3))
async def test_no_acknowledged_create_is_lost(file: Path, attempt: int) -> None:
    ids = await asyncio.to_thread(acknowledged_until_killed, file)
    assert len(ids) >= ACKNOWLEDGED
    store = SqliteStore(file, StoreOptions())
    await store.migrate()
    rows = await store.get("g", ids)
    await store.close()
    lost = [timer_id for timer_id, row in zip(ids, rows, strict=True) if row is None]
    assert lost == []
    assert all(row is not None and row.payload == row.timer_id.encode() * 100 for row in rows)


async def test_a_new_process_finds_what_the_last_one_ran(file: Path) -> None:
    first = SqliteStore(file, StoreOptions())
    await first.migrate()
    world = world_of(first)
    await world.register()
    executor = await world.executor()
    await world.create("running")
    await world.create("waiting", delay=LATER)
    taken = await executor.take_one()
    await first.close()

    second = SqliteStore(file, StoreOptions())
    await second.migrate()
    after = World(second, world.open, world.pass_time, group_id=world.group_id, pool=world.pool, owner=world.owner)
    successor = await after.executor()
    assert [member.dead for member in await second.members(world.pool) if member.incarnation == executor.me] == [True]
    assert sum((await successor.sweep(own_age=timedelta(hours=1))).recovered.values()) == 1
    again = await successor.take_one()
    assert (again.timer_id, again.occurrence, again.attempt) == ("running", taken.occurrence, taken.attempt)
    assert (await after.row("waiting")).state is TimerState.PENDING
    assert [
        result.status for result in await after.results(after.new("running", delay=NOW), if_exists=IfExists.KEEP)
    ] == [CreateStatus.IDENTICAL]
    await second.close()
