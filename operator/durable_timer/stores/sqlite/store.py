"""The contract over one file: each method hands a function to the thread that writes, or to one that reads."""

from __future__ import annotations

import asyncio
import builtins
import sqlite3
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from durable_timer.clock import Clock, SystemClock
from durable_timer.errors import ConfigError
from durable_timer.models.group import Group, GroupRegistration, GroupState
from durable_timer.models.outcome import Outcome
from durable_timer.models.ownership import Assignment, BeatAnswer, Claim, Member, MemberReport, Shard
from durable_timer.models.page import Counts, Page, Position, TimerFilter
from durable_timer.models.results import CreateResult, DeleteResult, IfExists, Target, WhenRunning, WriteResult
from durable_timer.models.timer import NewTimer, Timer, TimerChange
from durable_timer.planning import transitions
from durable_timer.stores.base import Capabilities, Swept, TakeGroup, Taken, WakeListener
from durable_timer.stores.options import StoreOptions
from durable_timer.stores.sql.documents import instant_to_micros
from durable_timer.stores.sql.migrate import one_at_a_time
from durable_timer.stores.sqlite import counts as group_counts
from durable_timer.stores.sqlite import creates, lists, ownership, schema, settles, sweeps, takes, writes
from durable_timer.stores.sqlite import groups as group_rows
from durable_timer.stores.sqlite.lock import FileLock
from durable_timer.stores.sqlite.readers import Readers
from durable_timer.stores.sqlite.statements import rows_of, value
from durable_timer.stores.sqlite.transaction import Transaction
from durable_timer.stores.sqlite.writer import Wakes, Writer

_OLDEST: Final = (3, 35)
"""The release of SQLite that brought RETURNING."""

_READERS: Final = 3
"""Threads that read: enough that a slow list holds up no get."""

_PURGED: Final = 100
"""Rows that a purge deletes at once."""


class SqliteStore:
    """The store in one file. Its methods are those of `stores.base.Store`, with their contract.

    The store's now is `clock`'s wall time: where the machine's clock is set back, so is this.
    """

    def __init__(self, path: Path, options: StoreOptions, clock: Clock | None = None) -> None:
        """Takes the file, made if it is not there, for this process. `migrate` comes before anything else.

        Raises: StoreInUse, StoreUnavailable, ConfigError where the SQLite library is too old.
        """
        if sqlite3.sqlite_version_info < _OLDEST:
            raise ConfigError(f"SQLite {sqlite3.sqlite_version} is too old: 3.35 or newer is needed")
        seconds = options.statement_timeout.total_seconds()
        self._path = path
        self._clock = clock or SystemClock()
        self._lock = FileLock(path)
        self._listeners: builtins.list[WakeListener] = []
        self._writer = Writer(path, self._clock, seconds=seconds, on_wakes=self._wake)
        self._readers = Readers(path, threads=_READERS, seconds=seconds)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(name="sqlite", exclusive=True)

    # Timers

    async def create(self, timers: Sequence[NewTimer], if_exists: IfExists) -> builtins.list[CreateResult]:
        pieces = creates.pieces(timers)
        if len(pieces) == 1:
            return await self._create(timers, creates.weight(timers), if_exists)
        made = await asyncio.gather(
            *(self._create(piece, weight, if_exists) for piece, weight in pieces), return_exceptions=True
        )
        return creates.whole(made)

    async def _create(
        self, timers: Sequence[NewTimer], weight: int, if_exists: IfExists
    ) -> builtins.list[CreateResult]:
        return await self._writer.write_jointly(creates.create, (timers, if_exists), weight=weight)

    async def get(self, group_id: str, timer_ids: Sequence[str]) -> builtins.list[Timer | None]:
        rows = await self._readers.read(rows_of, group_id, timer_ids)
        return [rows.get(timer_id) for timer_id in timer_ids]

    async def list(
        self, group_id: str, where: TimerFilter, *, limit: int, after: Position | None, payloads: bool
    ) -> Page:
        return await self._readers.read(lists.page, group_id, where, limit=limit, after=after, payloads=payloads)

    async def update(self, group_id: str, target: Target, change: TimerChange, *, managed: bool = False) -> WriteResult:
        return await self._writer.write(writes.update, group_id, target, change, managed=managed)

    async def delete(
        self, group_id: str, targets: Sequence[Target], when_running: WhenRunning, *, managed: bool = False
    ) -> builtins.list[DeleteResult]:
        return await self._writer.write(writes.delete, group_id, targets, when_running, managed=managed)

    async def run(self, group_id: str, targets: Sequence[Target]) -> builtins.list[WriteResult]:
        return await self._writer.write(writes.apply, group_id, targets, transitions.run_now)

    async def redrive(self, group_id: str, targets: Sequence[Target]) -> builtins.list[WriteResult]:
        return await self._writer.write(writes.apply, group_id, targets, transitions.redriven)

    # Groups

    async def register_group(self, registration: GroupRegistration) -> Group:
        return await self._writer.write(group_rows.register, registration)

    async def groups(self, since: int | None) -> tuple[builtins.list[Group], int]:
        return await self._readers.read(group_rows.since, since)

    async def set_group_state(self, group_id: str, owner: str, state: GroupState) -> Group:
        return await self._writer.write(group_rows.set_state, group_id, owner, state)

    async def transfer_group(self, group_id: str, to_owner: str, from_owner: str | None) -> Group:
        return await self._writer.write(group_rows.transfer, group_id, to_owner, from_owner)

    async def purge_group(self, group_id: str, limit: int) -> int:
        return await self._in_pieces(limit, lambda piece: self._writer.write(writes.purge_group, group_id, piece))

    async def finish_purge(self, group_id: str) -> None:
        await self._writer.write(group_rows.finish_purge, group_id)

    async def counts(self, group_id: str) -> Counts:
        return await self._readers.read(group_counts.counts, group_id, self._clock.now())

    # Members

    async def join(self, member: Member) -> None:
        await self._writer.write_urgently(ownership.join, member)

    async def beat(
        self, incarnation: str, counter: int, *, draining: bool, report: MemberReport | None
    ) -> BeatAnswer | None:
        return await self._writer.write_urgently(ownership.beat, incarnation, counter, draining=draining, report=report)

    async def declare_dead(self, incarnation: str, counter_seen: int) -> bool:
        return await self._writer.write_urgently(ownership.declare_dead, incarnation, counter_seen)

    async def leave(self, incarnation: str) -> None:
        await self._writer.write_urgently(ownership.leave, incarnation)

    async def members(self, pool: str) -> builtins.list[Member]:
        return await self._readers.read(ownership.members, pool)

    # Shards

    async def shards(self, pool: str) -> tuple[builtins.list[Shard], str]:
        return await self._readers.read(ownership.shards, pool)

    async def claim(self, claims: Sequence[Claim], me: str) -> builtins.list[int | None]:
        return await self._writer.write_urgently(ownership.claim, claims, me)

    async def release(self, claims: Sequence[Claim], me: str, until: timedelta) -> builtins.list[bool]:
        return await self._writer.write_urgently(ownership.release, claims, me, until)

    async def raise_term(self, pool: str, holder: str) -> int:
        return await self._writer.write_urgently(ownership.raise_term, pool, holder)

    async def assign(self, pool: str, term: int, assignments: Sequence[Assignment]) -> int:
        return await self._writer.write_urgently(ownership.assign, pool, term, assignments)

    # The engine's

    async def take_due(self, groups: Sequence[TakeGroup], me: str, ahead: timedelta, run: int) -> Taken:
        return await self._writer.write_urgently(takes.take_due, groups, me, ahead, run)

    async def settle(self, outcomes: Sequence[Outcome]) -> builtins.list[bool]:
        return await self._writer.write_jointly(settles.settle, outcomes, urgent=True)

    async def sweep(
        self,
        claims: Sequence[Claim],
        me: str,
        held: Collection[int],
        own_age: timedelta,
        limit: int,
        within: timedelta | None = None,
        *,
        drains_over: datetime | None,
    ) -> Swept:
        """The look is a reader's, so that only a sweep that finds something takes the writer's time.

        It leaves nothing out: entries of rows that ran before are gone from the index at once.
        """
        del within
        now = instant_to_micros(self._clock.now())
        if not await self._readers.read(sweeps.lost, now, claims, me, held, own_age, drains_over):
            return Swept({}, 0, 0)
        return await self._writer.write_urgently(sweeps.sweep, claims, me, held, own_age, limit, drains_over)

    async def purge(self, group_id: str, completed_for: timedelta, failed_for: timedelta, limit: int) -> int:
        return await self._in_pieces(
            limit, lambda piece: self._writer.write(writes.purge, group_id, completed_for, failed_for, piece)
        )

    async def _in_pieces(self, limit: int, purge: Callable[[int], Awaitable[int]]) -> int:
        """Deletes little at a time, so that others write in between."""
        purged = 0
        while purged < limit:
            piece = min(_PURGED, limit - purged)
            gone = await purge(piece)
            purged += gone
            if gone < piece:
                break
        return purged

    # The store itself

    def listen(self, listener: WakeListener) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _wake(self, wakes: Wakes) -> None:
        for group_id, shards in wakes.items():
            for listener in tuple(self._listeners):
                listener(group_id, shards)

    async def now(self) -> datetime:
        return self._clock.now()

    async def ping(self) -> None:
        await self._writer.write_urgently(_ping)

    async def migrate(self) -> None:
        async with one_at_a_time():
            await asyncio.to_thread(schema.migrate, self._path)

    async def close(self) -> None:
        await self._readers.close()
        if await self._writer.close():
            self._lock.release()


def _ping(transaction: Transaction) -> None:
    value(transaction.connection, "SELECT 1")
