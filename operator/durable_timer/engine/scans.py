"""How often a shard's queue is read from its first entry instead of from its floor.

Below the floor lies what was committed late, which is rare. But while a transaction is held open elsewhere (a dump, a
replica that reads), the entries of all rows taken since cannot be removed from the index, and a read from its first
entry passes each of them: 0.4 µs an entry, 600,000 of them after ten minutes at 1,000 timers a second. So a shard where
such a read takes long has it in a take of its own, and these have a bounded share of the time; meanwhile it is taken
from by its floor, like the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from heapq import nsmallest
from operator import attrgetter
from typing import Final

from durable_timer.engine.agenda import OwnedShard
from durable_timer.engine.waiting import REST_MAX, rest_after
from durable_timer.stores.base import PASSED_BY

SCAN_EVERY: Final = 1.0
"""Seconds between two reads of a shard without floor, where they are cheap."""

SCAN_TIME: Final = 0.005
"""Seconds by which such reads should not prolong a take."""

ROUND: Final = 10.0
"""Seconds in which all shards should have their turn where such reads are not cheap, as long as `REST` allows it."""

REST: Final = 9
"""How much longer than such a read the pause after it is at least, where they are not cheap."""

REST_WANTED: Final = 3
"""The same where something is known to be below the floor."""

FLOOR_LAG: Final = timedelta(seconds=0.5)
"""A floor is never nearer to the store's now: creates that are due at once come in behind what was taken."""

LATE_COMMIT: Final = timedelta(seconds=3)
"""How much further down a shard is read once after a wake-up: what it tells of was due no earlier than its statement."""

UNREAD: Final = timedelta(seconds=60)
"""How far back a shard is taken from that could not be read whole yet: a dead owner's timers, and not all that ran."""

_WEIGHT: Final = 1 / 16
_scan_at = attrgetter("scan_at")


class Scans:
    """Decides which shards of a take are read whole: many together where that is cheap, else one alone, and rarely."""

    def __init__(self) -> None:
        self._usual = 0.0
        self._most = 1_000_000
        self._after = self._alone_after = self._wanted_after = float("-inf")
        self._read: list[OwnedShard] = []
        self._alone = False

    def choose(self, due: Sequence[OwnedShard], now: float) -> tuple[list[OwnedShard], list[OwnedShard]]:
        """The shards of the next take, their `scan` set, and those that wait for the one after it.

        A shard without floor has to be `whole`, and is never `alone`. Two takes in a row are never of one alone.
        """
        turn = self._turn(due, now)
        for shard in due:
            shard.scan = False
        for shard in turn:
            shard.scan = True
        self._read, self._alone = turn, bool(turn) and turn[0].alone
        if self._alone:
            return turn, [shard for shard in due if not shard.scan]
        return (
            [shard for shard in due if shard.scan or shard.floor is not None],
            [shard for shard in due if not shard.scan and shard.floor is None],
        )

    def named(self, shards: Sequence[OwnedShard]) -> None:
        """The take names only these: others of its groups had no room."""
        in_it = set(shards)
        self._read = [shard for shard in self._read if shard in in_it]

    def took(self, seconds: float, now: float, owned: int) -> None:
        """The take was answered after so long; this process owns so many shards."""
        count = len(self._read)
        if not count:
            self._usual += (seconds - self._usual) * _WEIGHT
            return
        excess = max(0.0, seconds - self._usual)
        for shard in self._read:
            shard.alone = excess > SCAN_TIME * count and shard.floor is not None
        rest = min(rest_after(excess, 0.0), max(ROUND * count / max(1, owned), excess * REST))
        if self._alone:
            self._alone_after, self._wanted_after = now + rest, now + excess * REST_WANTED
        else:
            self._after = now + rest
            self._most = max(1, min(self._most * 2, int(SCAN_TIME * count / max(excess, 1e-6))))

    def failed(self, now: float, floor: datetime) -> None:
        """The take was not answered in time, though the store answers; `floor` is one for shards without."""
        for shard in self._read:
            if shard.floor is None:
                shard.floor = floor
            if shard.alone:
                shard.whole, shard.scan_at = False, now + REST_MAX
                self._alone_after = self._wanted_after = now + REST_MAX
            shard.alone = True
        if not self._alone:
            self._most = max(1, len(self._read) // 2)

    def _turn(self, due: Sequence[OwnedShard], now: float) -> list[OwnedShard]:
        periodic = now >= self._after
        turn = [shard for shard in due if not shard.alone and (shard.whole or (periodic and now >= shard.scan_at))]
        if turn:
            return turn if len(turn) <= self._most else nsmallest(self._most, turn, key=_scan_at)
        if self._alone or now < self._wanted_after:
            return []
        periodic = now >= self._alone_after
        alone = [shard for shard in due if shard.alone and (shard.whole or (periodic and now >= shard.scan_at))]
        return nsmallest(1, alone, key=_scan_at)


def set_floor(shard: OwnedShard, more: float | None, latest: datetime | None, highest: datetime) -> None:
    """Sets the floor by a take's answer: below it nothing was left, save what was passed by, which is looked for again.

    `latest`: when the last timer taken was due. `more`: in how many seconds the next one left is, if that is soon.
    """
    if more == PASSED_BY:
        shard.whole = shard.whole or shard.scan
        if latest is None or not shard.scan:
            return
    if more is None:
        floor = highest
    elif latest is not None:
        floor = min(latest, highest)
    elif shard.scan:
        floor = highest + timedelta(seconds=min(0.0, more))
    else:
        return
    shard.floor = floor - LATE_COMMIT if shard.woken else floor
