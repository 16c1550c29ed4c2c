"""Which shards a take reads whole: each once a second, and where that is slow one alone, within a share of the time."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from durable_timer.engine.agenda import OwnedShard
from durable_timer.engine.groups import GroupRuntime
from durable_timer.engine.scans import REST, ROUND, SCAN_EVERY, Scans
from durable_timer.engine.waiting import REST_MAX
from durable_timer.models.group import Group, GroupState, TimerGroupSpec
from durable_timer.models.ownership import ShardKey

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EARLIER = NOW - timedelta(seconds=4)


@pytest.fixture
def shards() -> list[OwnedShard]:
    """Sixteen shards that were read whole before."""
    group = GroupRuntime(Group("g", "file:g", 16, "default", TimerGroupSpec(), 1, GroupState.ACTIVE, NOW, None, 1))
    owned = [OwnedShard(ShardKey("g", number), 1, group) for number in range(16)]
    for shard in owned:
        shard.whole, shard.floor, shard.scan_at = False, NOW, 100.0
    return owned


class Takes:
    """One take after another of all shards, of which each that is read whole costs so many seconds."""

    def __init__(self, shards: list[OwnedShard], each: float, others: float = 0.002) -> None:
        self.scans = Scans()
        self.shards = shards
        self.each = dict.fromkeys(shards, each)
        self.others = others
        self.now = 100.0
        self.scanned: list[tuple[float, list[OwnedShard]]] = []
        self.named: list[tuple[float, OwnedShard]] = []

    def one(self) -> list[OwnedShard]:
        """The shards of the next take that are read whole. 2 s are too long."""
        chosen, waiting = self.scans.choose(self.shards, self.now)
        assert {*chosen, *waiting} == set(self.shards)
        turn = [shard for shard in chosen if shard.scan]
        seconds = self.others + sum(self.each[shard] for shard in turn)
        for shard in turn:
            shard.whole, shard.scan_at = False, self.now + SCAN_EVERY
        self.now += min(seconds, 2.0)
        if seconds > 2.0:
            for shard in turn:
                shard.whole = True
            self.scans.failed(self.now, EARLIER)
        else:
            for shard in turn:
                shard.floor = NOW
            self.scans.took(seconds, self.now, len(self.shards))
            self.named += [(self.now, shard) for shard in chosen]
        if turn:
            self.scanned.append((self.now, turn))
        return turn

    def play(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.one()
            self.now += 0.01

    def turns(self, shard: OwnedShard) -> list[float]:
        return [at for at, turn in self.scanned if shard in turn]

    def gaps(self, shard: OwnedShard) -> list[float]:
        """Between the takes that named the shard."""
        times = [at for at, named in self.named if named is shard]
        return [later - earlier for earlier, later in pairwise(times)]


@pytest.mark.parametrize("seconds", [0.002, 0.012, 0.05])
def test_all_are_read_whole_once_a_second_where_that_costs_nothing_however_long_a_take_is(
    shards: list[OwnedShard], seconds: float
) -> None:
    takes = Takes(shards, 0.0, seconds)
    takes.now = 99.0
    takes.play(60.0 + 100 * seconds)
    for shard in shards:
        settled = [at for at in takes.turns(shard) if at > 110.0]
        assert max(later - earlier for earlier, later in pairwise(settled)) < SCAN_EVERY + 2.5 * (seconds + 0.01)


def test_where_it_is_slow_one_goes_alone_and_all_have_their_turn_in_ten_seconds(shards: list[OwnedShard]) -> None:
    takes = Takes(shards, 0.03)
    takes.play(10.0)
    takes.scanned.clear()
    takes.play(100.0)
    assert {len(turn) for _, turn in takes.scanned} == {1}
    assert sum(len(turn) for _, turn in takes.scanned) * 0.03 <= 100.0 / REST
    for shard in shards:
        assert max(later - earlier for earlier, later in pairwise(takes.turns(shard))) < 1.2 * ROUND
        assert max(takes.gaps(shard)[1:]) < 0.6


def test_where_it_is_very_slow_it_takes_a_tenth_of_the_time_and_the_others_are_named_all_the_while(
    shards: list[OwnedShard],
) -> None:
    takes = Takes(shards, 0.5)
    takes.play(200.0)
    assert all(takes.turns(shard) for shard in shards)
    assert sum(0.5 for at, _ in takes.scanned if at > 120.0) <= 180.0 / REST
    assert max(gap for shard in shards for gap in takes.gaps(shard) if gap < 2.0) < 1.1


def test_it_is_fast_again_as_soon_as_each_was(shards: list[OwnedShard]) -> None:
    takes = Takes(shards, 0.05)
    takes.play(20.0)
    takes.each = dict.fromkeys(shards, 0.0)
    takes.play(20.0)
    takes.scanned.clear()
    takes.play(10.0)
    assert all(len(takes.turns(shard)) >= 8 for shard in shards)


def test_one_that_is_slow_does_not_make_the_others_rare(shards: list[OwnedShard]) -> None:
    takes = Takes(shards, 0.0)
    takes.each[shards[3]] = 0.1
    takes.play(20.0)
    takes.scanned.clear()
    takes.play(60.0)
    assert all(len(takes.turns(shard)) >= 25 for shard in shards if shard is not shards[3])
    assert 4 <= len(takes.turns(shards[3])) <= 60 / (0.1 * REST)


def test_the_wanted_have_more_of_the_time_and_do_not_shut_the_others_out(shards: list[OwnedShard]) -> None:
    takes = Takes(shards, 0.3)
    takes.play(20.0)
    for shard in shards[1:]:
        shard.whole = True
    began = takes.now
    takes.play(30.0)
    assert all(any(began < at for at in takes.turns(shard)) for shard in shards[1:])
    assert max(gap for gap in takes.gaps(shards[0]) if gap < 2.0) < 0.7


def test_claimed_ones_are_read_whole_at_once_as_many_as_are_quick(shards: list[OwnedShard]) -> None:
    for shard in shards:
        shard.whole, shard.floor = True, None
    takes = Takes(shards, 0.03)
    assert takes.one() == shards


def test_claimed_ones_that_cannot_be_read_together_are_read_alone_soon(shards: list[OwnedShard]) -> None:
    for shard in shards:
        shard.whole, shard.floor = True, None
    takes = Takes(shards, 0.15)
    takes.play(13.0)
    assert all(len(takes.turns(shard)) > 1 for shard in shards)


def test_those_that_fail_are_named_with_a_floor_and_tried_rarely(shards: list[OwnedShard]) -> None:
    for shard in shards:
        shard.whole, shard.floor = True, None
    takes = Takes(shards, 3.0)
    takes.one()
    assert {shard.floor for shard in shards} == {EARLIER}
    takes.play(300.0)
    alone = [at for at, turn in takes.scanned if len(turn) == 1]
    assert len(alone) == len(takes.scanned) - 1
    assert min(later - earlier for earlier, later in pairwise(alone)) >= REST_MAX
    assert max(gap for shard in shards for gap in takes.gaps(shard)) < 3.0


def test_of_many_some_that_fail_leave_the_others_their_turn(shards: list[OwnedShard]) -> None:
    takes = Takes(shards, 0.0)
    for shard in shards[:8]:
        takes.each[shard] = 3.0
    takes.play(200.0)
    takes.scanned.clear()
    for shard in shards[:8]:
        shard.whole = True
    takes.play(200.0)
    assert all(len(takes.turns(shard)) >= 80 for shard in shards[8:])
    assert sum(len(set(turn) & set(shards[:8])) > 0 for _, turn in takes.scanned) <= 200.0 / REST_MAX + 1
    assert max(gap for shard in shards for gap in takes.gaps(shard)) < 3.0


def test_what_the_take_had_no_room_for_is_not_judged_by_it(shards: list[OwnedShard]) -> None:
    for shard in shards:
        shard.whole, shard.floor = True, None
    scans = Scans()
    scans.choose(shards, 100.0)
    scans.named(shards[:4])
    scans.failed(102.0, EARLIER)
    assert [shard.floor for shard in shards] == [EARLIER] * 4 + [None] * 12
    assert [shard.alone for shard in shards] == [True] * 4 + [False] * 12
