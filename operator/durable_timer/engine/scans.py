"""How often a shard's queue is read from its first entry instead of from its floor.

Below the floor lies what was committed late, which is rare. But while a transaction is held open elsewhere (a dump, a
replica that reads), the entries of all rows taken since cannot be removed from the index, and a read from its first
entry passes each of them: 0.4 µs an entry, 600,000 of them after ten minutes at 1,000 timers a second. So where such
reads take long, few of them go together, and they have a bounded share of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from heapq import nsmallest
from typing import Final

from durable_timer.engine.agenda import OwnedShard
from durable_timer.engine.waiting import rest_after

SCAN_EVERY: Final = 1.0
"""Seconds between two reads of a shard without floor, where they are cheap."""

SCAN_TIME: Final = 0.005
"""Seconds that a take should not exceed because of such reads."""

FLOOR_LAG: Final = timedelta(seconds=0.5)
"""A floor is never nearer to the store's now: creates that are due at once come in behind what was taken."""

LATE_COMMIT: Final = timedelta(seconds=3)
"""How much further down a shard is read once after a wake-up: what it tells of was due no earlier than its statement."""


class Scans:
    """Decides which shards of a take are read whole, and makes them fewer where that takes long."""

    def __init__(self) -> None:
        self._most = 1_000_000
        self._slow = False
        self._after = float("-inf")
        self._begun = 0

    def choose(self, due: Sequence[OwnedShard], now: float) -> tuple[list[OwnedShard], list[OwnedShard]]:
        """The shards of the next take, their `scan` set, and those that wait for the one after it.

        Where such reads are slow, a shard that is read whole is alone, so that the others' timers do not wait with it.
        """
        for shard in due:
            shard.scan = False
        turn = [shard for shard in due if shard.whole or (now >= self._after and now >= shard.scan_at)]
        if len(turn) > self._most:
            turn = nsmallest(self._most, turn, key=lambda shard: shard.scan_at)
        for shard in turn:
            shard.scan = True
        self._begun = len(turn)
        if self._slow and self._begun:
            return [shard for shard in due if shard.scan], [shard for shard in due if not shard.scan]
        return (
            [shard for shard in due if shard.scan or not shard.whole],
            [shard for shard in due if shard.whole and not shard.scan],
        )

    def took(self, seconds: float, now: float) -> None:
        """The take was answered after so long."""
        if self._begun:
            self._slow = seconds > SCAN_TIME * self._begun
            self._most = max(1, int(SCAN_TIME * self._begun / max(seconds, 1e-6)))
            self._after = now + rest_after(seconds, 0.0)

    def failed(self) -> None:
        """The take was not answered in time: perhaps because of these reads."""
        if self._begun:
            self._slow, self._most = True, max(1, self._begun // 2)
