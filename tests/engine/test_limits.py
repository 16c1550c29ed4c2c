"""Places and tokens: what may be under way, and that nobody holds up anybody else."""

import asyncio
from collections import Counter
from itertools import pairwise

from durable_timer.models.timer import TimerState
from durable_timer.planning.answers import Answer
from tests.engine.conftest import FakeTarget, Rig
from tests.support.waiting import eventually


def holding(release: asyncio.Event) -> FakeTarget:
    async def target(request: object) -> Answer:
        await release.wait()
        return Answer(200)

    return target


async def test_a_group_has_no_more_under_way_than_it_allows(rig: Rig) -> None:
    release = asyncio.Event()
    rig.targets.by_host["target"] = holding(release)
    await rig.group(callback={"maxInFlight": 5})
    executor = await rig.start()
    for number in range(20):
        await rig.create(f"t{number}")
    await eventually(lambda: len(rig.targets.sent) == 5)
    await asyncio.sleep(0.3)
    assert len(rig.targets.sent) == 5
    assert executor._holdings.count == 5
    release.set()
    for number in range(20):
        await rig.becomes(f"t{number}", TimerState.COMPLETED)
    assert rig.targets.most == 5
    assert executor._holdings.count == 0


async def test_a_group_is_taken_no_faster_than_its_rate(rig: Rig) -> None:
    await rig.group(callback={"rateLimit": {"requests": 10, "period": "1s"}})
    await rig.start()
    for number in range(25):
        await rig.create(f"t{number}")
    await eventually(lambda: len(rig.targets.sent) == 25, 10)
    first, last = rig.targets.sent[0][0], rig.targets.sent[-1][0]
    assert last - first >= 1.3
    assert last - first < 8


async def test_wake_ups_of_a_group_that_waits_long_for_its_rate_do_not_pile_up(rig: Rig) -> None:
    await rig.group(shards=1, callback={"rateLimit": {"requests": 1, "period": "1h"}})
    await rig.group("quiet", shards=1)
    executor = await rig.start()
    await rig.create("first")
    await rig.becomes("first", TimerState.COMPLETED)
    for number in range(1000):
        await rig.create(f"t{number}")
        await asyncio.sleep(0.002)
    await eventually(lambda: len(executor._agenda._heap) < 20, 5)


async def test_a_full_group_does_not_hold_up_another(rig: Rig) -> None:
    rig.targets.by_host["stuck"] = holding(asyncio.Event())
    await rig.group("full", callback={"maxInFlight": 5})
    await rig.group("other")
    await rig.start()
    for number in range(50):
        await rig.create(f"t{number}", "http://stuck/x", "full")
    await eventually(lambda: rig.targets.under_way == 5)
    await rig.create("a", group_id="other")
    await rig.becomes("a", TimerState.COMPLETED, group_id="other")


async def test_a_stuck_target_gets_its_places_and_the_rest_is_deferred_uncounted(rig: Rig) -> None:
    rig.targets.by_host["stuck"] = holding(asyncio.Event())
    await rig.group()
    executor = await rig.start(slots=20, slots_per_target=4)
    for number in range(60):
        await rig.create(f"t{number}", "http://stuck/x")

    async def put_off() -> bool:
        rows = [await rig.row(f"t{number}") for number in range(60)]
        assert all(row is not None and row.attempt == 0 for row in rows)
        states = Counter(row.state for row in rows if row is not None and row.version > 1)
        return states[TimerState.PENDING] >= 40 and executor._holdings.count <= 20

    await eventually(put_off, 15)
    assert rig.targets.most == 4
    await rig.create("quick")
    await rig.becomes("quick", TimerState.COMPLETED)


async def test_a_burst_at_a_quick_target_is_not_deferred(rig: Rig) -> None:
    await rig.group()
    await rig.start(slots=50, slots_per_target=2)
    for number in range(500):
        await rig.create(f"t{number}")
    for number in range(500):
        row = await rig.becomes(f"t{number}", TimerState.COMPLETED)
        assert row.version == 3
    assert rig.targets.most == 2


async def test_places_bound_what_is_held_whatever_is_due(rig: Rig) -> None:
    release = asyncio.Event()
    rig.targets.by_host["target"] = holding(release)
    await rig.group()
    executor = await rig.start(slots=10, slots_per_target=10)
    for number in range(100):
        await rig.create(f"t{number}")
    await eventually(lambda: rig.targets.under_way == 10)
    assert executor._holdings.count <= 20
    release.set()
    for number in range(100):
        await rig.becomes(f"t{number}", TimerState.COMPLETED, 30)


async def test_large_payloads_are_held_by_the_memory_set_aside(rig: Rig) -> None:
    release = asyncio.Event()
    rig.targets.by_host["target"] = holding(release)
    await rig.group(payload={"maxBytes": 1024 * 1024})
    executor = await rig.start()
    for number in range(300):
        await rig.create(f"t{number}")
    await eventually(lambda: executor._holdings.count == 256)
    await asyncio.sleep(0.3)
    assert executor._holdings.count == 256
    release.set()
    for number in range(300):
        await rig.becomes(f"t{number}", TimerState.COMPLETED)


async def test_many_hanging_hosts_of_one_group_leave_slots_for_other_groups_and_hosts(rig: Rig) -> None:
    for number in range(12):
        rig.targets.by_host[f"stuck{number}"] = holding(asyncio.Event())
    await rig.group("a")
    await rig.group("b")
    await rig.start(slots=100, slots_per_target=10)
    for number in range(240):
        await rig.create(f"t{number}", f"http://stuck{number % 12}/x", "a")
    await eventually(lambda: rig.targets.under_way >= 36)
    for group_id in ("b", "a"):
        for number in range(20):
            begun = asyncio.get_running_loop().time()
            await rig.create(f"quick{number}", group_id=group_id)
            await rig.becomes(f"quick{number}", TimerState.COMPLETED, group_id=group_id)
            assert asyncio.get_running_loop().time() - begun < 5


async def test_records_of_idle_hosts_go_at_once(rig: Rig) -> None:
    await rig.group()
    executor = await rig.start()
    for number in range(50):
        await rig.create(f"t{number}", f"http://host{number}/x")
    for number in range(50):
        await rig.becomes(f"t{number}", TimerState.COMPLETED)
    await eventually(lambda: not executor._delivering._targets._hosts)


async def test_a_shard_that_got_no_place_keeps_its_backlog_in_sight(rig: Rig) -> None:
    """With little room some shards give nothing to a take; what is due there is older than the floor's lag by then."""
    release = asyncio.Event()
    rig.targets.by_host["target"] = holding(release)
    await rig.group(shards=16, callback={"maxInFlight": 3})
    executor = await rig.start()
    for number in range(60):
        await rig.create(f"t{number}")
    await eventually(lambda: executor._holdings.count == 3)
    await asyncio.sleep(0.8)
    release.set()
    begun = asyncio.get_running_loop().time()
    for number in range(60):
        await rig.becomes(f"t{number}", TimerState.COMPLETED)
    times = [at for at, _ in rig.targets.sent if at >= begun]
    assert max(b - a for a, b in pairwise(times)) < 0.5
