"""The contract over the tables: each call waits, commits at one instant, waits again."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from durable_timer.models.group import Group, GroupRegistration, GroupState
from durable_timer.models.outcome import Outcome
from durable_timer.models.ownership import Assignment, BeatAnswer, Claim, Member, MemberReport, Shard
from durable_timer.models.page import Counts, Page, Position, TimerFilter
from durable_timer.models.results import CreateResult, DeleteResult, IfExists, Target, WhenRunning, WriteResult
from durable_timer.models.timer import NewTimer, Timer, TimerChange
from durable_timer.stores.base import Capabilities, Swept, TakeGroup, Taken, WakeListener
from durable_timer.stores.memory import engine, ownership
from durable_timer.stores.memory import groups as group_rows
from durable_timer.stores.memory import timers as timer_rows
from durable_timer.stores.memory.database import MemoryDatabase

P = ParamSpec("P")
R = TypeVar("R")


class Hooks(Protocol):
    """Where a simulation plants delays, errors, lost answers and crashes.

    `name` is the method's name. Raising in `before` keeps the call from committing; raising, or never returning, in
    `after` loses the answer of a call that did commit. A take asks `before("take_due.commit")` as well, between its
    look at the claims and its commit: waiting there lets it commit behind a later claim, as databases may.
    """

    async def before(self, name: str) -> None: ...

    async def after(self, name: str) -> None: ...


class _NoHooks:
    async def before(self, name: str) -> None:
        pass

    async def after(self, name: str) -> None:
        pass


class MemoryStore:
    """One process's way to a `MemoryDatabase`. Its methods are those of `stores.base.Store`, with their contract."""

    def __init__(
        self, database: MemoryDatabase | None = None, *, hooks: Hooks | None = None, exclusive: bool = False
    ) -> None:
        self.database = database or MemoryDatabase()
        self._hooks = hooks or _NoHooks()
        self._capabilities = Capabilities(name="memory", exclusive=exclusive)

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    async def _commit(
        self, name: str, work: Callable[Concatenate[MemoryDatabase, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        await self._hooks.before(name)
        answer = work(self.database, *args, **kwargs)
        await self._hooks.after(name)
        return answer

    # Timers

    async def create(self, timers: Sequence[NewTimer], if_exists: IfExists) -> builtins.list[CreateResult]:
        return await self._commit("create", timer_rows.create, timers, if_exists)

    async def get(self, group_id: str, timer_ids: Sequence[str]) -> builtins.list[Timer | None]:
        return await self._commit("get", timer_rows.get, group_id, timer_ids)

    async def list(
        self, group_id: str, where: TimerFilter, *, limit: int, after: Position | None, payloads: bool
    ) -> Page:
        return await self._commit("list", timer_rows.page, group_id, where, limit=limit, after=after, payloads=payloads)

    async def update(self, group_id: str, target: Target, change: TimerChange, *, managed: bool = False) -> WriteResult:
        return await self._commit("update", timer_rows.update, group_id, target, change, managed=managed)

    async def delete(
        self, group_id: str, targets: Sequence[Target], when_running: WhenRunning, *, managed: bool = False
    ) -> builtins.list[DeleteResult]:
        return await self._commit("delete", timer_rows.delete, group_id, targets, when_running, managed=managed)

    async def run(self, group_id: str, targets: Sequence[Target]) -> builtins.list[WriteResult]:
        return await self._commit("run", timer_rows.run, group_id, targets)

    async def redrive(self, group_id: str, targets: Sequence[Target]) -> builtins.list[WriteResult]:
        return await self._commit("redrive", timer_rows.redrive, group_id, targets)

    # Groups

    async def register_group(self, registration: GroupRegistration) -> Group:
        return await self._commit("register_group", group_rows.register, registration)

    async def groups(self, since: int | None) -> tuple[builtins.list[Group], int]:
        return await self._commit("groups", group_rows.since, since)

    async def set_group_state(self, group_id: str, owner: str, state: GroupState) -> Group:
        return await self._commit("set_group_state", group_rows.set_state, group_id, owner, state)

    async def transfer_group(self, group_id: str, to_owner: str, from_owner: str | None) -> Group:
        return await self._commit("transfer_group", group_rows.transfer, group_id, to_owner, from_owner)

    async def purge_group(self, group_id: str, limit: int) -> int:
        return await self._commit("purge_group", timer_rows.purge_group, group_id, limit)

    async def finish_purge(self, group_id: str) -> None:
        await self._commit("finish_purge", group_rows.finish_purge, group_id)

    async def counts(self, group_id: str) -> Counts:
        return await self._commit("counts", timer_rows.counts, group_id)

    # Members

    async def join(self, member: Member) -> None:
        await self._commit("join", ownership.join, member, exclusive=self._capabilities.exclusive)

    async def beat(
        self, incarnation: str, counter: int, *, draining: bool, report: MemberReport | None
    ) -> BeatAnswer | None:
        return await self._commit("beat", ownership.beat, incarnation, counter, draining=draining, report=report)

    async def declare_dead(self, incarnation: str, counter_seen: int) -> bool:
        return await self._commit("declare_dead", ownership.declare_dead, incarnation, counter_seen)

    async def leave(self, incarnation: str) -> None:
        await self._commit("leave", ownership.leave, incarnation)

    async def members(self, pool: str) -> builtins.list[Member]:
        return await self._commit("members", ownership.members, pool)

    # Shards

    async def shards(self, pool: str) -> tuple[builtins.list[Shard], str]:
        return await self._commit("shards", ownership.shards, pool)

    async def claim(self, claims: Sequence[Claim], me: str) -> builtins.list[int | None]:
        return await self._commit("claim", ownership.claim, claims, me)

    async def release(self, claims: Sequence[Claim], me: str, until: timedelta) -> builtins.list[bool]:
        return await self._commit("release", ownership.release, claims, me, until)

    async def raise_term(self, pool: str, holder: str) -> int:  # noqa: ARG002 - nobody reads who it was
        return await self._commit("raise_term", ownership.raise_term, pool)

    async def assign(self, pool: str, term: int, assignments: Sequence[Assignment]) -> int:
        return await self._commit("assign", ownership.assign, pool, term, assignments)

    # The engine's

    async def take_due(self, groups: Sequence[TakeGroup], me: str, ahead: timedelta, run: int) -> Taken:
        await self._hooks.before("take_due")
        owned = frozenset(engine.standing(self.database, engine.claims_of(groups), me))
        await self._hooks.before("take_due.commit")
        answer = engine.take(self.database, groups, owned, ahead, run)
        await self._hooks.after("take_due")
        return answer

    async def settle(self, outcomes: Sequence[Outcome]) -> builtins.list[bool]:
        return await self._commit("settle", engine.settle, outcomes)

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
        return await self._commit(
            "sweep", engine.sweep, claims, me, held, own_age, within, limit=limit, drains_over=drains_over
        )

    async def purge(self, group_id: str, completed_for: timedelta, failed_for: timedelta, limit: int) -> int:
        return await self._commit("purge", timer_rows.purge, group_id, completed_for, failed_for, limit)

    # The store itself

    def listen(self, listener: WakeListener) -> Callable[[], None]:
        return self.database.listen(listener)

    async def now(self) -> datetime:
        return await self._commit("now", _now)

    async def ping(self) -> None:
        await self._commit("ping", _nothing)

    async def migrate(self) -> None:
        await self._commit("migrate", _nothing)

    async def close(self) -> None:
        await self._commit("close", _nothing)


def _now(db: MemoryDatabase) -> datetime:
    return db.now()


def _nothing(_db: MemoryDatabase) -> None:
    """What there is to do for a connection, a schema and a farewell."""
