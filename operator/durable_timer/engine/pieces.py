"""Store calls over many shards, in pieces: as many shards at once as are answered soon, what failed apart from the rest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from itertools import islice, takewhile
from typing import Final

from durable_timer.clock import Clock
from durable_timer.engine.agenda import OwnedShard
from durable_timer.engine.waiting import rest_after
from durable_timer.errors import StoreError

PIECE_TIME: Final = 0.1
"""Seconds that a call should not exceed."""


class Pieces:
    """Divides one kind of calls. It remembers which shards were in a piece that failed until they were answered."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._most = float("inf")
        self._failed: dict[OwnedShard, int] = {}
        self._rest_until = float("-inf")

    async def over(self, shards: Sequence[OwnedShard], call: Callable[[Sequence[OwnedShard]], Awaitable[bool]]) -> None:
        """Calls for all shards, and again for a piece while `call` answers that there is more.

        Ends with the first piece that fails. Of that one only half goes together the next time, after all others.
        Raises: what `call` raises.
        """
        left = list(shards)
        if self._failed:
            wanted = set(shards)
            left = [shard for shard in shards if shard not in self._failed]
            left += [shard for shard in self._failed if shard in wanted]
        while left:
            piece = self._first(left)
            began = self._clock.monotonic()
            try:
                more = await call(piece)
            except (StoreError, TimeoutError):
                self._put_off(piece, began)
                raise
            took = self._clock.monotonic() - began
            self._most = max(1, int(len(piece) * PIECE_TIME / max(took, 1e-6)))
            if not more:
                left = left[len(piece) :]
                for shard in piece:
                    self._failed.pop(shard, None)

    def awake(self, shards: Sequence[OwnedShard]) -> Sequence[OwnedShard]:
        """Those that do not rest."""
        return [shard for shard in shards if not self.rests(shard)] if self._failed else shards

    def rests(self, shard: OwnedShard) -> bool:
        """Whether the shard's call failed though it was alone, and one like it so lately that another is too much."""
        return self._failed.get(shard) == 0 and self._clock.monotonic() < self._rest_until

    def keep(self, shards: Collection[OwnedShard]) -> None:
        """Forgets what is known of other shards than these."""
        if self._failed:
            kept = set(shards)
            self._failed = {shard: half for shard, half in self._failed.items() if shard in kept}

    def _first(self, left: Sequence[OwnedShard]) -> list[OwnedShard]:
        if not self._failed:
            return list(islice(left, max(1, int(min(self._most, len(left))))))
        half = self._failed.get(left[0])
        alike = takewhile(lambda shard: self._failed.get(shard) == half, left)
        most = min(self._most, len(left) if half is None else half)
        return list(islice(alike, max(1, int(most))))

    def _put_off(self, piece: Sequence[OwnedShard], began: float) -> None:
        half = len(piece) // 2
        self._most = max(1, half)
        for shard in piece:
            self._failed.pop(shard, None)
            self._failed[shard] = half
        if half == 0:
            now = self._clock.monotonic()
            self._rest_until = now + rest_after(now - began, 0.0)
