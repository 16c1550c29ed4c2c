from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from math import ceil

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from durable_timer.models.ownership import Member, MemberReport, Shard, ShardKey
from durable_timer.planning.assignment import plan, rebalance

Plan = dict[ShardKey, str | None]


def member(incarnation: str, *, draining: bool = False, dead: bool = False) -> Member:
    return Member(incarnation, f"name-{incarnation}", "default", None, 0, draining, dead, MemberReport())


def members(*incarnations: str) -> list[Member]:
    return [member(incarnation) for incarnation in incarnations]


def shard(group_id: str, number: int, owner: str | None = None, assigned_to: str | None = None) -> Shard:
    return Shard(group_id, number, 1, owner, assigned_to, 0)


def owned(shards: Sequence[Shard], owners: Plan) -> list[Shard]:
    return [replace(one, owner=owners[one.key]) for one in shards]


def per_member(owners: Plan, living: Sequence[Member]) -> list[int]:
    counts = Counter(owners.values())
    return [counts[one.incarnation] for one in living]


def moved(shards: Sequence[Shard], owners: Plan) -> set[ShardKey]:
    return {one.key for one in shards if one.owner != owners[one.key]}


NAMES = st.sampled_from([f"m{number:02}" for number in range(12)])
POOLS = st.lists(NAMES, unique=True, min_size=1).map(lambda names: members(*names))
GROUP_SIZES = st.lists(st.integers(1, 33), min_size=1, max_size=12)


@st.composite
def claims(draw: st.DrawFn, *, assigned: bool = False) -> list[Shard]:
    """Shards in any state: of owners that live, are gone, or nobody."""
    sizes = draw(GROUP_SIZES)
    owner = st.none() | NAMES | st.just("gone")
    return [
        shard(f"g{group}", number, draw(owner), draw(owner) if assigned else None)
        for group, size in enumerate(sizes)
        for number in range(size)
    ]


@st.composite
def settled(draw: st.DrawFn) -> tuple[list[Member], list[Shard]]:
    """A pool, and shards as the planner left them after a history of joins and departures."""
    sizes = draw(GROUP_SIZES)
    shards = [shard(f"g{group}", number) for group, size in enumerate(sizes) for number in range(size)]
    pool: list[Member] = []
    for pool in draw(st.lists(POOLS, min_size=1, max_size=4)):
        shards = owned(shards, plan(pool, shards))
    return pool, shards


@given(POOLS, claims())
def test_members_differ_by_at_most_one_shard_over_all_groups(pool: list[Member], shards: list[Shard]) -> None:
    counts = per_member(plan(pool, shards), pool)
    assert sum(counts) == len(shards)
    assert max(counts) - min(counts) <= 1


@given(POOLS, claims(assigned=True), st.randoms(use_true_random=False))
def test_the_answer_does_not_depend_on_the_order_of_its_input(
    pool: list[Member], shards: list[Shard], rng: random.Random
) -> None:
    shuffled_pool, shuffled_shards = list(pool), list(shards)
    rng.shuffle(shuffled_pool)
    rng.shuffle(shuffled_shards)
    assert plan(pool, shards) == plan(shuffled_pool, shuffled_shards)
    assert rebalance(pool, shards) == rebalance(shuffled_pool, shuffled_shards)


@given(POOLS, claims())
def test_a_plan_that_was_carried_out_is_the_plan_again(pool: list[Member], shards: list[Shard]) -> None:
    owners = plan(pool, shards)
    assert plan(pool, owned(shards, owners)) == owners


@given(POOLS, claims())
def test_no_more_moves_than_balance_asks_for(pool: list[Member], shards: list[Shard]) -> None:
    living = {one.incarnation for one in pool}
    held = Counter(one.owner for one in shards if one.owner in living)
    least, extra = divmod(len(shards), len(pool))
    most_first = sorted((held[name] for name in living), reverse=True)
    given_up = sum(max(0, count - (least + (place < extra))) for place, count in enumerate(most_first))
    without_holder = sum(one.owner not in living for one in shards)
    assert len(moved(shards, plan(pool, shards))) == given_up + without_holder


@given(settled(), NAMES)
def test_a_joining_member_takes_its_part_and_nothing_else_moves(
    state: tuple[list[Member], list[Shard]], name: str
) -> None:
    pool, shards = state
    assume(name not in {one.incarnation for one in pool})
    owners = plan([*pool, member(name)], shards)
    moves = moved(shards, owners)
    assert all(owners[key] == name for key in moves)
    assert len(moves) <= ceil(len(shards) / (len(pool) + 1))


@given(settled(), st.data(), st.sampled_from(["gone", "dead", "draining"]))
def test_the_shards_of_a_member_that_went_are_spread_and_no_others_move(
    state: tuple[list[Member], list[Shard]], data: st.DataObject, how: str
) -> None:
    pool, shards = state
    gone = data.draw(st.sampled_from(pool)).incarnation
    rest = [one for one in pool if one.incarnation != gone]
    left = list(rest)
    if how != "gone":
        left.append(member(gone, dead=how == "dead", draining=how == "draining"))
    owners = plan(left, shards)
    assert moved(shards, owners) == {one.key for one in shards if one.owner == gone}
    if rest:
        counts = per_member(owners, rest)
        assert max(counts) - min(counts) <= 1


@given(settled(), st.data())
def test_the_plan_holds_while_shards_are_on_their_way(
    state: tuple[list[Member], list[Shard]], data: st.DataObject
) -> None:
    """Whatever part of the releases and claims has happened, no shard that arrived moves on, and the count stays."""
    pool, before = state
    pool = [*pool, *members("z1", "z2")]
    moves = moved(before, plan(pool, before))
    target = plan(pool, before)
    step = st.sampled_from(["held", "released", "claimed"])
    midway = []
    for one in before:
        how = data.draw(step) if one.key in moves else "held"
        midway.append(
            {"held": one, "released": replace(one, owner=None), "claimed": replace(one, owner=target[one.key])}[how]
        )
    owners = plan(pool, midway)
    arrived = {one.key for one, was in zip(midway, before, strict=True) if one.owner not in {None, was.owner}}
    assert not arrived & moved(midway, owners)
    assert len(moved(before, owners)) == len(moves)


@given(st.integers(1, 12), GROUP_SIZES)
def test_a_fresh_plan_spreads_each_group_evenly(count: int, sizes: list[int]) -> None:
    shards = [shard(f"g{group}", number) for group, size in enumerate(sizes) for number in range(size)]
    owners = plan(members(*(f"m{number}" for number in range(count))), shards)
    spread = Counter((key.group_id, name) for key, name in owners.items())
    assert all(held <= ceil(sizes[int(group_id[1:])] / count) for (group_id, _), held in spread.items())


@given(GROUP_SIZES, POOLS, st.data())
def test_one_join_or_departure_leaves_each_group_almost_even(
    sizes: list[int], pool: list[Member], data: st.DataObject
) -> None:
    shards = [shard(f"g{group}", number) for group, size in enumerate(sizes) for number in range(size)]
    shards = owned(shards, plan(pool, shards))
    gone = data.draw(st.none() | st.sampled_from(pool))
    pool = [*pool, member("n")] if gone is None or len(pool) == 1 else [one for one in pool if one is not gone]
    spread = Counter((key.group_id, name) for key, name in plan(pool, shards).items())
    assert all(held <= ceil(sizes[int(group_id[1:])] / len(pool)) + 1 for (group_id, _), held in spread.items())


@given(claims(assigned=True))
def test_without_a_living_member_nobody_owns_anything(shards: list[Shard]) -> None:
    for pool in ([], [member("m00", dead=True), member("m01", draining=True)]):
        assert set(plan(pool, shards).values()) <= {None}
        assert plan(pool, shards).keys() == {one.key for one in shards}


@given(POOLS, claims(assigned=True))
def test_a_living_assignee_owns_its_shard(pool: list[Member], shards: list[Shard]) -> None:
    living = {one.incarnation for one in pool}
    owners = plan(pool, shards)
    assert all(owners[one.key] == one.assigned_to for one in shards if one.assigned_to in living)


@given(POOLS, claims(assigned=True))
def test_unassigned_shards_are_spread_around_the_assigned_ones(pool: list[Member], shards: list[Shard]) -> None:
    living = {one.incarnation for one in pool}
    assigned = Counter(one.assigned_to for one in shards if one.assigned_to in living)
    counts = dict(zip((one.incarnation for one in pool), per_member(plan(pool, shards), pool), strict=True))
    spread = [count for name, count in counts.items() if count > assigned[name]]
    assert not spread or max(spread) <= min(counts.values()) + 1


@given(POOLS, claims(assigned=True))
def test_a_planner_with_a_term_balances_assigned_shards_as_well(pool: list[Member], shards: list[Shard]) -> None:
    owners = rebalance(pool, shards)
    counts = per_member(owners, pool)
    assert max(counts) - min(counts) <= 1
    assigned = [replace(one, assigned_to=owners[one.key]) for one in shards]
    assert rebalance(pool, assigned) == owners
    assert plan(pool, assigned) == owners


def test_a_pool_without_shards_has_an_empty_plan() -> None:
    assert plan(members("a", "b"), []) == {}


@pytest.mark.parametrize("join", [True, False])
def test_many_groups_stay_even_through_a_join_or_a_departure(join: bool) -> None:
    shards = [shard(f"g{group:03}", number) for group in range(200) for number in range(16)]
    pool = members(*(f"m{number}" for number in range(9)))
    shards = owned(shards, plan(pool, shards))
    pool = [*pool, member("n")] if join else pool[:-1]
    spread = Counter((key.group_id, name) for key, name in plan(pool, shards).items())
    assert max(spread.values()) <= ceil(16 / len(pool)) + (0 if join else 1)
