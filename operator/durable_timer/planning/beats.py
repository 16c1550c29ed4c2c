"""Watching beats: which member has been silent so long that whoever watched may declare it dead.

A member and the operator's planner watch alike (`docs/semantics.md`): a counter unchanged for `dead_after` seconds of
the watcher's own monotonic time, read successfully all the while. A gap between two reads starts every count anew, so
that an outage of the store, or a pause of the watcher, kills nobody.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from durable_timer.models.ownership import Member


class Silent(NamedTuple):
    """A member that said nothing for too long, and the counter at which it stopped."""

    incarnation: str
    beat: int


class BeatWatch:
    """The counters as read, each with the time since when it is unchanged. All times are seconds of one monotonic clock."""

    def __init__(self, dead_after: float, read_gap: float) -> None:
        self._dead_after = dead_after
        self._read_gap = read_gap
        self._seen: dict[str, tuple[int, float]] = {}
        self._read_at = float("-inf")

    def restart(self) -> None:
        """Forgets all counts."""
        self._seen.clear()

    def observe(self, members: Iterable[Member], now: float, me: str | None = None) -> None:
        """Takes in what a read that ended `now` said of the members; dead ones and `me` are not watched."""
        if now - self._read_at >= self._read_gap:
            self._seen.clear()
        self._read_at = now
        seen = self._seen
        self._seen = {
            member.incarnation: seen[member.incarnation]
            if member.incarnation in seen and seen[member.incarnation][0] == member.beat
            else (member.beat, now)
            for member in members
            if not member.dead and member.incarnation != me
        }

    def limit(self) -> float | None:
        """When the first silence reaches its limit, unless a beat is seen before; None when nobody is watched."""
        first = min((since for _, since in self._seen.values()), default=None)
        return None if first is None else first + self._dead_after

    def silent(self, now: float) -> list[Silent]:
        """Those whose silence has reached its limit.

        Whoever declares them dead asks `current` before each, since that may take longer than the counts hold, and
        says `named` of each, so that it is not declared again before the next read.
        """
        return [Silent(i, beat) for i, (beat, since) in self._seen.items() if now >= since + self._dead_after]

    def named(self, silent: Silent) -> None:
        """Watches it no more until the next read."""
        self._seen.pop(silent.incarnation, None)

    def current(self, now: float) -> bool:
        """Whether the last read is so late that its counts still hold."""
        return now - self._read_at < self._read_gap
