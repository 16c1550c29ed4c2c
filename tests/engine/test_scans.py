"""Which shards a take reads whole: each once a second, few and alone where that is slow."""

from datetime import UTC, datetime

import pytest

from durable_timer.engine.agenda import OwnedShard
from durable_timer.engine.groups import GroupRuntime
from durable_timer.engine.scans import SCAN_EVERY, Scans
from durable_timer.engine.waiting import SHARE
from durable_timer.models.group import Group, GroupState, TimerGroupSpec
from durable_timer.models.ownership import ShardKey

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def shards() -> list[OwnedShard]:
    """Sixteen shards that were read whole before."""
    group = GroupRuntime(Group("g", "file:g", 16, "default", TimerGroupSpec(), 1, GroupState.ACTIVE, NOW, None, 1))
    owned = [OwnedShard(ShardKey("g", number), 1, group) for number in range(16)]
    for shard in owned:
        shard.whole, shard.floor, shard.scan_at = False, NOW, 100.0
    return owned


def taken(scans: Scans, shards: list[OwnedShard], now: float, seconds: float) -> list[OwnedShard]:
    """Those of the next take; it takes so long when shards are read whole, else 2 ms."""
    chosen, waiting = scans.choose(shards, now)
    seconds = seconds if any(shard.scan for shard in chosen) else 0.002
    assert len(chosen) + len(waiting) == len(shards)
    for shard in chosen:
        if shard.scan:
            shard.whole, shard.scan_at = False, now + SCAN_EVERY
    scans.took(seconds, now + seconds)
    return chosen


def test_all_are_read_whole_once_a_second_while_that_is_fast(shards: list[OwnedShard]) -> None:
    scans = Scans()
    assert taken(scans, shards, 99.0, 0.002) == shards
    assert not any(shard.scan for shard in shards)
    assert taken(scans, shards, 100.0, 0.002) == shards
    assert all(shard.scan for shard in shards)
    assert taken(scans, shards, 100.5, 0.002) == shards
    assert not any(shard.scan for shard in shards)
    taken(scans, shards, 101.1, 0.002)
    assert all(shard.scan for shard in shards)


def test_where_it_is_slow_one_goes_alone_and_rarely(shards: list[OwnedShard]) -> None:
    scans, now = Scans(), 100.0
    taken(scans, shards, now, 0.5)
    scanned, others = [], 0
    while now < 200.0:
        now += 0.04
        chosen = taken(scans, shards, now, 0.03)
        if any(shard.scan for shard in chosen):
            [one] = chosen
            scanned.append(one.key)
        else:
            assert chosen == shards
            others += 1
    assert 40 <= len(scanned) <= 100.0 * SHARE / 0.03
    assert len(set(scanned)) == len(shards)
    assert others > 2000


def test_it_is_fast_again_as_soon_as_one_was(shards: list[OwnedShard]) -> None:
    scans = Scans()
    taken(scans, shards, 100.0, 0.5)
    assert len(taken(scans, shards, 120.0, 0.0002)) == 1
    assert taken(scans, shards, 121.0, 0.002) == shards
    assert sum(shard.scan for shard in shards) > 1


def test_claimed_ones_have_to_be_read_whole_and_wait_for_their_turn(shards: list[OwnedShard]) -> None:
    scans = Scans()
    for shard in shards:
        shard.whole = True
    assert taken(scans, shards, 0.0, 0.5) == shards
    for shard in shards:
        shard.whole = True
    turns = []
    for turn in range(16):
        (one,) = taken(scans, shards, 1.0 + 0.01 * turn, 0.03)
        turns.append(one.key.shard)
    assert sorted(turns) == list(range(16))


def test_a_take_that_fails_is_tried_with_fewer(shards: list[OwnedShard]) -> None:
    scans = Scans()
    for shard in shards:
        shard.whole = True
    sizes = []
    for _ in range(6):
        chosen, _waiting = scans.choose(shards, 0.0)
        sizes.append(len(chosen))
        scans.failed()
    assert sizes == [16, 8, 4, 2, 1, 1]
