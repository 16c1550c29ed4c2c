"""When each claimed shard is looked at next: one heap, no work for a shard before its time."""

from __future__ import annotations

from datetime import datetime
from heapq import heappop, heappush

from durable_timer.engine.groups import GroupRuntime
from durable_timer.models.ownership import Claim, ShardKey


class OwnedShard:
    """A claimed shard.

    `at` is the monotonic second of its next look. `floor`, `woken` (since the last take began), `hot` (more was there than
    the last take brought) and `behind` (some of it overdue) serve the take loop. `whole`: its next take is to be without
    floor, `scan`: the present one is, `scan_at`: when one is due again, `alone`: the last one took long. `releasing`: no
    longer taken from. `swept_at` and `swept_whole_at`: when its last sweep that was answered began, and its last whole one;
    a minute before the first one began where that was not.
    """

    __slots__ = (
        "alone", "at", "behind", "claim", "epoch", "floor", "group", "hot", "key", "releasing", "scan", "scan_at", "swept_at",
        "swept_whole_at", "whole", "woken",
    )  # fmt: skip

    def __init__(self, key: ShardKey, epoch: int, group: GroupRuntime) -> None:
        self.key = key
        self.epoch = epoch
        self.claim = Claim(key.group_id, key.shard, epoch)
        self.group = group
        self.at = float("inf")
        self.floor: datetime | None = None
        self.scan_at = 0.0
        self.whole = True
        self.scan = False
        self.alone = False
        self.hot = False
        self.behind = False
        self.woken = False
        self.releasing = False
        self.swept_at = float("-inf")
        self.swept_whole_at = float("-inf")


class Agenda:
    """Claimed shards in the order of their next look."""

    def __init__(self) -> None:
        self._shards: dict[ShardKey, OwnedShard] = {}
        self._heap: list[tuple[float, int, OwnedShard]] = []
        self._pushed = 0

    def __len__(self) -> int:
        return len(self._shards)

    def add(self, shard: OwnedShard, at: float) -> None:
        self._shards[shard.key] = shard
        self.put(shard, at)

    def remove(self, key: ShardKey) -> OwnedShard | None:
        shard = self._shards.pop(key, None)
        if shard is not None:
            shard.at = float("inf")
        return shard

    def get(self, key: ShardKey) -> OwnedShard | None:
        return self._shards.get(key)

    def all(self) -> list[OwnedShard]:
        return list(self._shards.values())

    def of_group(self, group_id: str) -> list[OwnedShard]:
        return [shard for shard in self._shards.values() if shard.key.group_id == group_id]

    def put(self, shard: OwnedShard, at: float) -> None:
        """Sets the next look, whatever it was."""
        if at == shard.at:
            return
        shard.at = at
        if at != float("inf"):
            self._pushed += 1
            heappush(self._heap, (at, self._pushed, shard))

    def sooner(self, shard: OwnedShard, at: float) -> None:
        """Brings the next look forward."""
        if at < shard.at:
            self.put(shard, at)

    def next_at(self) -> float:
        """When the earliest look is due; infinity without one."""
        heap = self._heap
        while heap and self._stale(*heap[0]):
            heappop(heap)
        return heap[0][0] if heap else float("inf")

    def pop_due(self, now: float, most: int) -> list[OwnedShard]:
        """Takes up to `most` shards whose look is due off the agenda; the caller puts each back."""
        due: list[OwnedShard] = []
        heap = self._heap
        while len(due) < most and heap and heap[0][0] <= now:
            entry = heappop(heap)
            if not self._stale(*entry):
                shard = entry[2]
                shard.at = float("inf")
                due.append(shard)
        return due

    def _stale(self, at: float, _: int, shard: OwnedShard) -> bool:
        """Put elsewhere since, or no longer claimed: whoever held it may have put it back after that."""
        return at != shard.at or self._shards.get(shard.key) is not shard
