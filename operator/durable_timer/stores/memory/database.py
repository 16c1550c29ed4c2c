"""The tables, their one queue index, and who is to be woken."""

from __future__ import annotations

import asyncio
import contextvars
import random
from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from durable_timer.models.group import Group
from durable_timer.models.ownership import Member, Shard, ShardKey
from durable_timer.models.timer import Suspension, Timer, TimerState
from durable_timer.stores.base import WakeListener

WAKE_WITHIN = timedelta(seconds=2)
"""A timer due later than this from now needs no wake-up: each shard is probed at least once a second."""


class Due(NamedTuple):
    """An entry of a shard's due index."""

    due_at: datetime
    timer_id: str


class _Listener(NamedTuple):
    """Who is called, in whose context (a simulated process is one), on which loop."""

    call: WakeListener
    context: contextvars.Context
    loop: asyncio.AbstractEventLoop


@dataclass(slots=True)
class MemberRow:
    """A member's row, and since when it is dead."""

    member: Member
    dead_since: datetime | None = None


class MemoryDatabase:
    """What the processes of a test share. Each opens its own `MemoryStore` on it.

    `now` answers the store's clock, aware and UTC; `rng` gives the uids. Rows are replaced, never changed in place.
    Everything iterates in the order of insertion or of a sort, so that a seed gives the same run everywhere.
    """

    def __init__(self, now: Callable[[], datetime] | None = None, rng: random.Random | None = None) -> None:
        self.now = now or _wall_clock
        self.rng = rng or random.Random()  # noqa: S311 - uids need no secrecy
        self.groups: dict[str, Group] = {}
        self.last_change = 0
        self.members: dict[str, MemberRow] = {}
        self.shards: dict[ShardKey, Shard] = {}
        self.terms: dict[str, int] = {}
        self.timers: dict[str, dict[str, Timer]] = {}
        self._due: dict[ShardKey, list[Due]] = {}
        self._shard_writes: dict[str, int] = {}
        self._listeners: dict[int, _Listener] = {}
        self._listener_ids = iter(range(2**63))

    # Timers

    def timer(self, group_id: str, timer_id: str) -> Timer | None:
        """The row itself: copy it before it leaves the store."""
        return self.timers.get(group_id, {}).get(timer_id)

    def rows(self, group_id: str) -> Iterator[Timer]:
        """All rows of a group, in the order of their creation."""
        return iter(self.timers.get(group_id, {}).values())

    def put(self, row: Timer) -> None:
        """Writes a row, new or known, and its entry in the due index."""
        rows = self.timers.setdefault(row.group_id, {})
        self._unindex(rows.get(row.timer_id))
        rows[row.timer_id] = row
        if _queued(row):
            insort(self._due.setdefault(ShardKey(row.group_id, row.shard), []), Due(row.due_at, row.timer_id))

    def remove(self, row: Timer) -> None:
        """Deletes a row and its entry in the due index."""
        self._unindex(self.timers[row.group_id].pop(row.timer_id))

    def due(self, key: ShardKey, floor: datetime | None) -> Iterator[Due]:
        """The entries of a shard in order, from `floor` on."""
        entries = self._due.get(key, [])
        begin = 0 if floor is None else bisect_left(entries, Due(floor, ""))
        return (entries[index] for index in range(begin, len(entries)))

    def _unindex(self, row: Timer | None) -> None:
        if row is None or not _queued(row):
            return
        entries = self._due[ShardKey(row.group_id, row.shard)]
        del entries[bisect_left(entries, Due(row.due_at, row.timer_id))]

    # Shards and members

    def put_shard(self, row: Shard) -> None:
        """Writes a shard's row; the pool's token changes."""
        self.shards[row.key] = row
        self.note_shard_write(self.groups[row.group_id].pool)

    def note_shard_write(self, pool: str) -> None:
        """Changes the pool's token."""
        self._shard_writes[pool] = self._shard_writes.get(pool, 0) + 1

    def shards_token(self, pool: str) -> str:
        """Another one after each write of the pool's shard rows and groups."""
        return str(self._shard_writes.get(pool, 0))

    def living(self, incarnation: str) -> bool:
        """Whether the member has a row and is not dead."""
        row = self.members.get(incarnation)
        return row is not None and not row.member.dead

    # Wake-ups

    def listen(self, listener: WakeListener) -> Callable[[], None]:
        """Adds a listener, called in the context of this call; the answer removes it."""
        number = next(self._listener_ids)
        self._listeners[number] = _Listener(listener, contextvars.copy_context(), asyncio.get_running_loop())

        def end() -> None:
            self._listeners.pop(number, None)

        return end

    def wake(self, group_id: str, shards: Collection[int]) -> None:
        """Tells all listeners, once the present callback of the loop is over."""
        for number, listener in self._listeners.items():
            listener.loop.call_soon(self._deliver, number, group_id, tuple(shards), context=listener.context)

    def wake_for(self, rows: Iterable[Timer]) -> None:
        """Tells of those rows that are due soon."""
        soon = self.now() + WAKE_WITHIN
        shards: dict[str, dict[int, None]] = {}
        for row in rows:
            if _queued(row) and row.due_at <= soon:
                shards.setdefault(row.group_id, {})[row.shard] = None
        for group_id, numbers in shards.items():
            self.wake(group_id, numbers)

    def _deliver(self, number: int, group_id: str, shards: tuple[int, ...]) -> None:
        if listener := self._listeners.get(number):
            listener.call(group_id, shards)


def _queued(row: Timer) -> bool:
    return row.state is TimerState.PENDING and row.suspended is not Suspension.SUSPENDED


def _wall_clock() -> datetime:
    return datetime.now(UTC)
