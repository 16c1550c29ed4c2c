"""Several executors: shares, hand-over, death, and that only one of them fires."""

import asyncio
from collections import Counter
from itertools import pairwise

import pytest

from durable_timer.errors import StoreUnavailable
from durable_timer.models.ownership import ShardKey
from durable_timer.models.timer import TimerState
from durable_timer.planning.answers import Answer
from tests.engine.conftest import Rig
from tests.support.waiting import eventually


async def test_two_share_the_shards_and_each_timer_fires_once(rig: Rig) -> None:
    await rig.group(shards=16)
    one, two = await rig.start(), await rig.start()
    await eventually(lambda: (rig.owned(one), rig.owned(two)) == (8, 8))
    for number in range(200):
        await rig.create(f"t{number}", f"http://target/{number}")
    for number in range(200):
        await rig.becomes(f"t{number}", TimerState.COMPLETED)
    assert set(Counter(rig.targets.urls()).values()) == {1}


async def test_a_stopping_one_hands_over_without_duplicate_or_gap(rig: Rig) -> None:
    async def slow(request: object) -> Answer:
        await asyncio.sleep(2)
        return Answer(200)

    rig.targets.by_host["slow"] = slow
    await rig.group(shards=16)
    one, two = await rig.start(), await rig.start()
    await eventually(lambda: rig.owned(one) == rig.owned(two) == 8)
    for number in range(40):
        await rig.create(f"slow{number}", f"http://slow/{number}")
    await eventually(lambda: rig.targets.under_way == 40)
    for number in range(400):
        await rig.create(f"t{number}", f"http://target/{number}", in_seconds=number / 200)
    await rig.stop(one)
    assert rig.owned(two) == 16
    for number in range(400):
        await rig.becomes(f"t{number}", TimerState.COMPLETED)
    for number in range(40):
        assert (await rig.becomes(f"slow{number}", TimerState.COMPLETED)).attempt == 1
    assert set(Counter(rig.targets.urls()).values()) == {1}
    times = [at for at, request in rig.targets.sent if "target" in request.url]
    assert max(b - a for a, b in pairwise(times)) < 1.0
    assert all(member.member.name != "executor-0" for member in rig.store.database.members.values())


async def test_a_dead_ones_timers_fire_again_within_five_seconds(rig: Rig) -> None:
    rig.targets.by_host["stuck"] = lambda request: asyncio.Event().wait()  # type: ignore[assignment, return-value]
    await rig.group(shards=16)
    one = await rig.start()
    for number in range(20):
        await rig.create(f"t{number}", "http://stuck/x")
    await eventually(lambda: rig.targets.under_way == 20)
    two = await rig.start()
    await rig.kill(one)
    del rig.targets.by_host["stuck"]
    killed = asyncio.get_running_loop().time()
    for number in range(20):
        row = await rig.becomes(f"t{number}", TimerState.COMPLETED, 10)
        assert row.attempt == 1
    assert asyncio.get_running_loop().time() - killed < 5
    assert rig.owned(two) == 16


async def test_one_declared_dead_while_it_lives_forgets_joins_anew_and_loses_nothing(rig: Rig) -> None:
    await rig.group(shards=16)
    one, two = await rig.start(), await rig.start()
    await eventually(lambda: rig.owned(one) == rig.owned(two) == 8)
    for number in range(100):
        await rig.create(f"t{number}", f"http://target/{number}", in_seconds=1 + number / 100)
    old = one._membership.incarnation
    row = rig.store.database.members[old].member
    assert await rig.store.declare_dead(old, row.beat)
    for number in range(100):
        await rig.becomes(f"t{number}", TimerState.COMPLETED)
    await eventually(lambda: rig.owned(one) == rig.owned(two) == 8)
    assert one._membership.incarnation != old


async def test_one_declared_dead_alone_takes_again_what_waited_behind_a_request_under_way(rig: Rig) -> None:
    """Its own sweeps spare that request's take, and all that it brought."""
    rig.targets.by_host["hangs"] = lambda request: asyncio.Event().wait()  # type: ignore[assignment, return-value]
    await rig.group(shards=1)
    alone = await rig.start(slots_per_target=1)
    for name in ("first", "second"):
        await rig.create(name, "http://hangs/x", in_seconds=0.5)
    await eventually(lambda: alone._holdings.count == 2 and rig.targets.under_way == 1)
    [waits] = [job for job in alone._holdings.of_shard(ShardKey("g", 0)) if not job.begun]
    old = rig.store.database.members[alone._membership.incarnation].member
    assert await rig.store.declare_dead(old.incarnation, old.beat)

    async def taken_again() -> bool:
        [row] = await rig.store.get("g", [waits.timer.timer_id])
        assert row is not None
        return row.run not in {None, waits.timer.run}

    await eventually(taken_again)
    assert rig.targets.under_way == 1


async def test_a_shard_whose_release_failed_and_which_stays_is_served_on(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.group(shards=4)
    one = await rig.start()

    async def refused(*_: object) -> list[bool]:
        raise StoreUnavailable("a release that fails")

    monkeypatch.setattr(one._store, "release", refused)
    two = await rig.start_unowned()
    await eventually(lambda: any(shard.releasing for shard in one._agenda.all()))
    await rig.stop(two)
    for number in range(8):
        await rig.create(f"t{number}")
    for number in range(8):
        await rig.becomes(f"t{number}", TimerState.COMPLETED)


async def test_a_newcomer_leaves_a_drain_its_time_until_the_store_has_answered_for_a_while(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The former owner, which cannot settle for a time, is alive: nothing that it sent is sent again."""
    monkeypatch.setattr("durable_timer.engine.ownership.DRAIN_MARGIN", -0.5)

    async def slow(request: object) -> Answer:
        await asyncio.sleep(0.5)
        return Answer(200)

    async def refused(*_: object) -> list[bool]:
        raise StoreUnavailable("a settlement that fails")

    rig.targets.by_host["slow"] = slow
    await rig.group(shards=4, callback={"timeout": "1s"})
    one = await rig.start()
    settle = one._store.settle
    for number in range(20):
        await rig.create(f"slow{number}", "http://slow/x")
    await eventually(lambda: rig.targets.under_way == 20)
    monkeypatch.setattr(one._store, "settle", refused)
    two = await rig.start_unowned()
    await eventually(lambda: rig.owned(two) == 2)
    await asyncio.sleep(2.5)
    monkeypatch.setattr(one._store, "settle", settle)
    for number in range(20):
        await rig.becomes(f"slow{number}", TimerState.COMPLETED)
    assert len(rig.targets.urls()) == 20


async def test_a_departed_ones_requests_come_again_when_it_dies_long_after(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sweeps are rare by then, and its death asks for one."""
    monkeypatch.setattr("durable_timer.engine.sweeping.EVENTFUL_FOR", 0.0)
    monkeypatch.setattr("durable_timer.engine.sweeping.CALM_EVERY", 60.0)
    rig.targets.by_host["stuck"] = lambda request: asyncio.Event().wait()  # type: ignore[assignment, return-value]
    await rig.group(shards=4)
    one = await rig.start()
    for number in range(20):
        await rig.create(f"t{number}", "http://stuck/x")
    await eventually(lambda: rig.targets.under_way == 20)
    two = await rig.start()
    leaving = asyncio.create_task(rig.stop(one))
    await eventually(lambda: rig.owned(two) == 4)
    await asyncio.sleep(1.5)
    del rig.targets.by_host["stuck"]
    await rig.kill(one)
    leaving.cancel()
    for number in range(20):
        await rig.becomes(f"t{number}", TimerState.COMPLETED, 10)
