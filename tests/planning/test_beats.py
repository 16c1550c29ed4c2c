"""Whom a watcher of beats may declare dead, and when."""

from hypothesis import given
from hypothesis import strategies as st

from durable_timer.models.ownership import Member, MemberReport
from durable_timer.planning.beats import BeatWatch, Silent

DEAD_AFTER = 2.0
GAP = 1.0


def member(name: str, beat: int, *, dead: bool = False) -> Member:
    return Member(name, name, "default", None, beat, draining=False, dead=dead, report=MemberReport())


def watch() -> BeatWatch:
    return BeatWatch(DEAD_AFTER, GAP)


def test_a_counter_that_stands_still_is_silent_when_two_seconds_have_passed() -> None:
    beats = watch()
    for turn in range(5):
        beats.observe([member("a", 7), member("b", turn)], turn * 0.5)
        assert beats.silent(turn * 0.5) == ([Silent("a", 7)] if turn == 4 else [])
    assert beats.limit() == DEAD_AFTER


def test_a_gap_between_reads_starts_every_count_anew() -> None:
    beats = watch()
    beats.observe([member("a", 7)], 0.0)
    beats.observe([member("a", 7)], 0.9)
    beats.observe([member("a", 7)], 2.0)
    assert beats.silent(3.9) == []
    assert beats.silent(4.0) == [Silent("a", 7)]
    assert not beats.current(3.0)


def test_the_dead_and_the_watcher_itself_are_not_watched() -> None:
    beats = watch()
    for turn in range(6):
        beats.observe([member("me", 1), member("gone", 1, dead=True)], turn * 0.5, me="me")
    assert beats.limit() is None


def test_who_was_named_is_watched_anew_after_the_next_read() -> None:
    beats = watch()
    for turn in range(5):
        beats.observe([member("a", 7)], turn * 0.5)
    beats.named(Silent("a", 7))
    assert beats.silent(2.0) == []
    beats.observe([member("a", 7)], 2.5)
    assert beats.limit() == 2.5 + DEAD_AFTER


@given(st.lists(st.tuples(st.floats(0.05, 1.5), st.booleans()), max_size=30))
def test_nobody_is_silent_who_beat_within_the_limit_or_was_not_read_without_a_gap(
    reads: list[tuple[float, bool]],
) -> None:
    beats = watch()
    now, counter, changed_at, read_at = 0.0, 0, 0.0, float("-inf")
    for pause, beat in reads:
        now += pause
        counter += beat
        if beat or now - read_at >= GAP or read_at == float("-inf"):
            changed_at = now
        read_at = now
        beats.observe([member("a", counter)], now)
        assert bool(beats.silent(now)) == (now >= changed_at + DEAD_AFTER)
