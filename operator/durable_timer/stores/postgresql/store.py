"""The PostgreSQL store: `stores.base.Store` over one pool of connections."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta

from durable_timer.models.group import Group, GroupRegistration, GroupState
from durable_timer.models.outcome import Outcome
from durable_timer.models.ownership import Assignment, BeatAnswer, Claim, Member, MemberReport, Shard
from durable_timer.models.page import Counts, Page, Position, TimerFilter
from durable_timer.models.results import CreateResult, DeleteResult, IfExists, Target, WhenRunning, WriteResult
from durable_timer.models.timer import NewTimer, Timer, TimerChange
from durable_timer.stores.base import Capabilities, Swept, TakeGroup, Taken, WakeListener
from durable_timer.stores.options import StoreOptions
from durable_timer.stores.postgresql import schema, statements
from durable_timer.stores.postgresql.changes import Changes
from durable_timer.stores.postgresql.connections import Connections
from durable_timer.stores.postgresql.creates import Creates
from durable_timer.stores.postgresql.groups import Groups
from durable_timer.stores.postgresql.keyed import read_rows
from durable_timer.stores.postgresql.lists import Lists
from durable_timer.stores.postgresql.ownership import Members, Shards
from durable_timer.stores.postgresql.takes import Takes
from durable_timer.stores.postgresql.wakeups import WakeUps


class PostgresStore:
    """A store in a PostgreSQL database (15 or later). Connects at its first call."""

    def __init__(self, url: str, options: StoreOptions) -> None:
        self._url = url
        self._options = options
        self._connections = Connections(url, options)
        self._wakeups = WakeUps(self._connections)
        self._creates = Creates(self._connections, self._wakeups)
        self._changes = Changes(self._connections, self._wakeups)
        self._lists = Lists(self._connections)
        self._groups = Groups(self._connections, self._wakeups)
        self._members = Members(self._connections)
        self._shards = Shards(self._connections, self._wakeups)
        self._takes = Takes(self._connections)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(name="postgresql")

    # Timers, as clients see them

    async def create(self, timers: Sequence[NewTimer], if_exists: IfExists) -> builtins.list[CreateResult]:
        return await self._creates.create(timers, if_exists)

    async def get(self, group_id: str, timer_ids: Sequence[str]) -> builtins.list[Timer | None]:
        rows = await read_rows(self._connections, [(group_id, timer_id) for timer_id in timer_ids])
        return [rows.get((group_id, timer_id)) for timer_id in timer_ids]

    async def list(
        self, group_id: str, where: TimerFilter, *, limit: int, after: Position | None, payloads: bool
    ) -> Page:
        return await self._lists.page(group_id, where, limit=limit, after=after, payloads=payloads)

    async def update(self, group_id: str, target: Target, change: TimerChange, *, managed: bool = False) -> WriteResult:
        return await self._changes.update(group_id, target, change, managed=managed)

    async def delete(
        self, group_id: str, targets: Sequence[Target], when_running: WhenRunning, *, managed: bool = False
    ) -> builtins.list[DeleteResult]:
        return await self._changes.delete(group_id, targets, when_running, managed=managed)

    async def run(self, group_id: str, targets: Sequence[Target]) -> builtins.list[WriteResult]:
        return await self._changes.run(group_id, targets)

    async def redrive(self, group_id: str, targets: Sequence[Target]) -> builtins.list[WriteResult]:
        return await self._changes.redrive(group_id, targets)

    # Groups

    async def register_group(self, registration: GroupRegistration) -> Group:
        return await self._groups.register(registration)

    async def groups(self, since: int | None) -> tuple[builtins.list[Group], int]:
        return await self._groups.since(since)

    async def set_group_state(self, group_id: str, owner: str, state: GroupState) -> Group:
        return await self._groups.set_state(group_id, owner, state)

    async def transfer_group(self, group_id: str, to_owner: str, from_owner: str | None) -> Group:
        return await self._groups.transfer(group_id, to_owner, from_owner)

    async def purge_group(self, group_id: str, limit: int) -> int:
        return await self._groups.purge(group_id, limit)

    async def finish_purge(self, group_id: str) -> None:
        await self._groups.finish_purge(group_id)

    async def counts(self, group_id: str) -> Counts:
        return await self._lists.counts(group_id)

    # Members

    async def join(self, member: Member) -> None:
        await self._members.join(member)

    async def beat(
        self, incarnation: str, counter: int, *, draining: bool, report: MemberReport | None
    ) -> BeatAnswer | None:
        return await self._members.beat(incarnation, counter, draining=draining, report=report)

    async def declare_dead(self, incarnation: str, counter_seen: int) -> bool:
        return await self._members.declare_dead(incarnation, counter_seen)

    async def leave(self, incarnation: str) -> None:
        await self._members.leave(incarnation)

    async def members(self, pool: str) -> builtins.list[Member]:
        return await self._members.members(pool)

    # Shards

    async def shards(self, pool: str) -> tuple[builtins.list[Shard], str]:
        return await self._shards.shards(pool)

    async def claim(self, claims: Sequence[Claim], me: str) -> builtins.list[int | None]:
        return await self._shards.claim(claims, me)

    async def release(self, claims: Sequence[Claim], me: str, until: timedelta) -> builtins.list[bool]:
        return await self._shards.release(claims, me, until)

    async def raise_term(self, pool: str, holder: str) -> int:
        return await self._shards.raise_term(pool, holder)

    async def assign(self, pool: str, term: int, assignments: Sequence[Assignment]) -> int:
        return await self._shards.assign(pool, term, assignments)

    # The engine's

    async def take_due(self, groups: Sequence[TakeGroup], me: str, ahead: timedelta, run: int) -> Taken:
        return await self._takes.take_due(groups, me, ahead, run)

    async def settle(self, outcomes: Sequence[Outcome]) -> builtins.list[bool]:
        return await self._takes.settle(outcomes)

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
        return await self._takes.sweep(claims, me, held, own_age, limit, within, drains_over=drains_over)

    async def purge(self, group_id: str, completed_for: timedelta, failed_for: timedelta, limit: int) -> int:
        return await self._takes.purge(group_id, completed_for, failed_for, limit)

    # The store itself

    def listen(self, listener: WakeListener) -> Callable[[], None]:
        return self._wakeups.listen(listener)

    async def now(self) -> datetime:
        [[now]] = await self._connections.fetch(statements.NOW)
        at: datetime = now
        return at

    async def ping(self) -> None:
        await self._connections.fetch(statements.NOW)

    async def migrate(self) -> None:
        await schema.migrate(self._url, self._options)

    async def close(self) -> None:
        try:
            await self._wakeups.close()
        finally:
            await self._connections.close()
