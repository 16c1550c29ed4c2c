"""A backlog beside other groups: taken in small steps, and none of them put off by what else is taken."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from datetime import timedelta

from durable_timer.models.results import IfExists
from durable_timer.models.timer import NewTimer
from durable_timer.planning.sharding import shard_of
from tests.engine.conftest import Rig
from tests.support.waiting import eventually

BACKLOG = 1500


def _ids(shard: int) -> Iterator[str]:
    """Ids of timers that lie in the shard, of two."""
    return (name for name in (f"t{number}" for number in itertools.count()) if shard_of(name, 2) == shard)


async def test_takes_of_other_shards_do_not_put_a_backlog_off(rig: Rig) -> None:
    await rig.group("a", shards=2)
    await rig.group("b", shards=1)
    await rig.start()
    backlog, others = _ids(0), _ids(1)

    async def keep_creating() -> None:
        for number in itertools.count():
            await rig.create(next(others), "http://target/other", group_id="a")
            await rig.create(f"b{number}", "http://target/b", group_id="b")
            await asyncio.sleep(0.01)

    creating = asyncio.create_task(keep_creating())
    try:
        await eventually(lambda: len(rig.targets.urls()) > 10)
        past = await rig.store.now() - timedelta(seconds=30)
        new = [
            NewTimer(
                group_id="a",
                timer_id=name,
                shard=0,
                callback_url="http://target/backlog",
                fingerprint=b"x",
                execute_at=past,
            )
            for name in itertools.islice(backlog, BACKLOG)
        ]
        await rig.store.create(new[: BACKLOG // 2], IfExists.FAIL)
        await rig.store.create(new[BACKLOG // 2 :], IfExists.FAIL)
        await eventually(lambda: sum(url.endswith("/backlog") for url in rig.targets.urls()) == BACKLOG)
    finally:
        creating.cancel()
