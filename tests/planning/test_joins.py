"""Whom a plan counts on."""

from hypothesis import given
from hypothesis import strategies as st

from durable_timer.models.ownership import Member, MemberReport
from durable_timer.planning.joins import Joins

QUIET = 3.0


def members(*names: str, draining: tuple[str, ...] = (), dead: tuple[str, ...] = ()) -> list[Member]:
    return [Member(n, n, "p", None, 1, n in draining, n in dead, MemberReport()) for n in names]


def test_the_first_plan_counts_on_all_that_live() -> None:
    assert Joins(QUIET).counted(members("a", "b", "c", draining=("b",), dead=("c",)), 0.0) == {"a"}


def test_a_newcomer_waits_for_quiet_and_each_further_one_starts_it_anew() -> None:
    joins = Joins(QUIET)
    joins.counted(members("a"), 0.0)
    assert joins.counted(members("a", "b"), 1.0) == {"a"}
    assert joins.waits_until() == 4.0
    assert joins.counted(members("a", "b", "c"), 3.5) == {"a"}
    assert joins.counted(members("a", "b", "c"), 6.4) == {"a"}
    assert joins.counted(members("a", "b", "c"), 6.5) == {"a", "b", "c"}
    assert joins.waits_until() is None


def test_a_death_or_departure_counts_at_once_and_takes_newcomers_along() -> None:
    joins = Joins(QUIET)
    joins.counted(members("a", "b"), 0.0)
    assert joins.counted(members("a", "b", "c"), 1.0) == {"a", "b"}
    assert joins.counted(members("a", "b", "c", draining=("a",)), 1.5) == {"b", "c"}
    assert joins.counted(members("b", "c", dead=("b",)), 2.0) == {"c"}


@given(st.lists(st.tuples(st.floats(0.1, 4.0), st.frozensets(st.sampled_from("abcd"))), min_size=1, max_size=20))
def test_it_never_counts_on_who_does_not_live_and_in_the_end_on_all(
    turns: list[tuple[float, frozenset[str]]],
) -> None:
    joins = Joins(QUIET)
    now = 0.0
    for pause, names in turns:
        now += pause
        assert joins.counted(members(*sorted(names)), now) <= names
    assert joins.counted(members(*sorted(names)), now + QUIET) == names
