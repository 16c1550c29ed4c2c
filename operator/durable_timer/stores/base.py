"""The store contract: what the engine, the bridge and the operator may rely on, whatever database is underneath.

All calls are asynchronous and batch-first; results come by position. Requests and answers are domain types; a driver's
exceptions stop at the store and become `errors.StoreError`s. A call that is cancelled, or raises `StoreUnavailable`,
may have been committed: each write here can be repeated, or is fenced by a run token, an epoch or a version.

"The store's now" is the one clock that decides what is due. Durations travel as durations and are added to it inside
the store. A write never puts `due_at` earlier than it, save recovery and a deferral by zero, which leave `due_at`.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple, Protocol

from durable_timer.models.group import Group, GroupRegistration, GroupState
from durable_timer.models.outcome import Outcome
from durable_timer.models.ownership import Assignment, BeatAnswer, Claim, Member, MemberReport, Shard
from durable_timer.models.page import Counts, Page, Position, TimerFilter
from durable_timer.models.results import CreateResult, DeleteResult, IfExists, Target, WhenRunning, WriteResult
from durable_timer.models.timer import NewTimer, TakenTimer, Timer, TimerChange

DRAINED_LATELY: Final = timedelta(minutes=1)
"""For how long after a drain a sweep of its shard leaves nothing out, by the sweep's `drains_over`."""

DRAIN_KEPT: Final = timedelta(hours=1)
"""For how long after a drain it is remembered, for the sweeps after an outage."""

NEXT_DUE_WITHIN: Final = timedelta(seconds=1)
"""How far beyond its look-ahead a take tells what is due next. Each shard has to be looked at again within this time."""

PASSED_BY: Final = 0.0
"""A shard's next due where a take passed by a row that another writer had: it is due, or nearly so."""

WakeListener = Callable[[str, Collection[int]], None]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Differences between stores that callers may see.

    `precision`: the finest step of a stored time (a create's times are rounded up to it). `visibility_delay`: how long
    a committed pending timer may stay invisible to `take_due`. `label_filter`: whether lists filter by label.
    `exclusive`: one process at a time owns the store, so members found at join are dead.
    `wake_ups`: whether `listen` ever calls.
    """

    name: str
    precision: timedelta = timedelta(microseconds=1)
    visibility_delay: timedelta = timedelta(0)
    label_filter: bool = True
    exclusive: bool = False
    wake_ups: bool = True


class TakeShard(NamedTuple):
    """A claimed shard to take from.

    `floor` is a hint that lets a store skip index entries of rows taken before: rows due earlier may be left out of
    this take. None asks for all.
    """

    shard: int
    epoch: int
    floor: datetime | None


class TakeGroup(NamedTuple):
    """At most `limit` timers (≥ 1) of a group, from these shards. A store may bound each shard (≥ 8) as well."""

    group_id: str
    shards: Sequence[TakeShard]
    limit: int


@dataclass(slots=True)
class Taken:
    """The answer of a take.

    `timers` are running now, oldest first within a shard. `next_due`, by group and shard in the order of the request:
    seconds until the earliest pending timer left in that shard, by the store's clock (≤ 0 when more is due now,
    `PASSED_BY` when that may be a row which another writer had, None when nothing is due by `NEXT_DUE_WITHIN` after the
    take's `ahead`). `now` is the store's.
    """

    timers: list[TakenTimer]
    next_due: list[list[float | None]]
    now: datetime


class Swept(NamedTuple):
    """What a sweep did: rows made pending again, by shard, and rows deleted because their cancel was requested.

    `found`: how many lost rows it chose. These may be more than it recovered and deleted: others had some locked, or had
    changed them meanwhile.
    """

    recovered: dict[tuple[str, int], int]
    cancelled: int
    found: int


class Store(Protocol):
    """A database of groups, members, shards and timers."""

    @property
    def capabilities(self) -> Capabilities: ...

    # Timers, as clients see them

    async def create(self, timers: Sequence[NewTimer], if_exists: IfExists) -> list[CreateResult]:
        """Creates timers; each item on its own, in one call (of one or more groups).

        FAIL: a row with the same fingerprint → IDENTICAL, another → CONFLICT. KEEP: any row → IDENTICAL. REPLACE: the
        same fingerprint → IDENTICAL; a pending, completed or failed row gets all fields anew in a new occurrence →
        REPLACED; a running one → EXECUTING; a managed one → CONFLICT. Items that name the same id act in their order.
        Fires a wake-up for what is due soon.
        """
        ...

    async def get(self, group_id: str, timer_ids: Sequence[str]) -> list[Timer | None]: ...

    async def list(
        self, group_id: str, where: TimerFilter, *, limit: int, after: Position | None, payloads: bool
    ) -> Page:
        """Reads a page in the order of `where.order`, merged over shards.

        A timer that changes state meanwhile may appear twice or not at all. Without `payloads` rows carry None there.
        """
        ...

    async def update(self, group_id: str, target: Target, change: TimerChange, *, managed: bool = False) -> WriteResult:
        """PUT and PATCH as `planning.transitions.changed` decides, atomic against take. Only `managed` callers may write managed rows.

        A change that releases a row from its resource and no more (`TimerChange.declared`) works in every state.
        """
        ...

    async def delete(
        self, group_id: str, targets: Sequence[Target], when_running: WhenRunning, *, managed: bool = False
    ) -> builtins.list[DeleteResult]:
        """Deletes; a running timer is refused or, with STOP, marked: it goes at its settle or recovery."""
        ...

    async def run(self, group_id: str, targets: Sequence[Target]) -> builtins.list[WriteResult]:
        """Makes pending timers due now (`planning.transitions.run_now`). An equal stored `request` changes nothing."""
        ...

    async def redrive(self, group_id: str, targets: Sequence[Target]) -> builtins.list[WriteResult]:
        """Gives failed timers a new occurrence, due now. An equal stored `request` changes nothing."""
        ...

    # Groups

    async def register_group(self, registration: GroupRegistration) -> Group:
        """Writes a group's row and its shard rows, by compare-and-set. A deleted group of the same owner is active again.

        Writes nothing (and leaves `change`) when all is as it was. Another shard count is accepted only when
        `emptied_at` is a minute old; then the shard rows are made to fit (never removed: epochs outlive).
        Raises: GroupIdConflict, ShardsMismatch, GroupPurging.
        """
        ...

    async def groups(self, since: int | None) -> tuple[builtins.list[Group], int]:
        """The groups whose `change` is above `since` (all for None), and the highest `change` given so far.

        No later call answers a `change` at or below that number which this one left out.
        """
        ...

    async def set_group_state(self, group_id: str, owner: str, state: GroupState) -> Group:
        """Marks a group deleted or purging (or active again). Raises: UnknownGroup, GroupIdConflict."""
        ...

    async def transfer_group(self, group_id: str, to_owner: str, from_owner: str | None) -> Group:
        """Hands a group to another owner; `from_owner`, when given, must be the present one.

        Raises: UnknownGroup, GroupIdConflict.
        """
        ...

    async def purge_group(self, group_id: str, limit: int) -> int:
        """Deletes up to `limit` timers of a purging group, whatever their state; returns how many."""
        ...

    async def finish_purge(self, group_id: str) -> None:
        """Sets `emptied_at` to the store's now and the state to deleted, where the group is purging."""
        ...

    async def counts(self, group_id: str) -> Counts: ...

    # Members

    async def join(self, member: Member) -> None:
        """Adds a member's row (its beat 0). Earlier living members with the same `host` (not None) are declared dead.

        In an `exclusive` store all earlier members are.
        """
        ...

    async def beat(
        self, incarnation: str, counter: int, *, draining: bool, report: MemberReport | None
    ) -> BeatAnswer | None:
        """Writes the counter (and a report when given). None: refused, the member is dead or missing, nothing written.

        Never lowers the counter nor takes back `draining`: a beat that arrives late changes nothing of these.
        """
        ...

    async def declare_dead(self, incarnation: str, counter_seen: int) -> bool:
        """Sets `dead` where the counter is still the one seen; whether the member is dead now (or gone)."""
        ...

    async def leave(self, incarnation: str) -> None:
        """Removes the member's row; also rows dead for 10 minutes. No row counts as dead."""
        ...

    async def members(self, pool: str) -> builtins.list[Member]: ...

    # Shards

    async def shards(self, pool: str) -> tuple[builtins.list[Shard], str]:
        """All shard rows of the pool's groups that are not deleted or purging, and the token (`BeatAnswer`) they stand for.

        Shards of deleted and purging groups are listed while they have an owner. Ordered by group and shard.
        """
        ...

    async def claim(self, claims: Sequence[Claim], me: str) -> builtins.list[int | None]:
        """Claims shards, each with the epoch seen; the new epochs, None where not applied.

        Applied only where the epoch is still the one seen, the owner is nobody, `me`, or a member that is dead or has
        no row, and `me` itself is not dead and has a row. The epoch grows by one. Drops drains that
        were over `DRAIN_KEPT` ago.
        """
        ...

    async def release(self, claims: Sequence[Claim], me: str, until: timedelta) -> builtins.list[bool]:
        """Clears the owner where epoch and owner match, adding (epoch, me, the store's now + until) to the drains."""
        ...

    async def raise_term(self, pool: str, holder: str) -> int:
        """Becomes planner of the pool: raises its term by compare-and-set, stamps it on all shard rows, returns it."""
        ...

    async def assign(self, pool: str, term: int, assignments: Sequence[Assignment]) -> int:
        """Writes `assigned_to` where the row's `plan_term` is not above `term`; how many rows changed."""
        ...

    # The engine's

    async def take_due(self, groups: Sequence[TakeGroup], me: str, ahead: timedelta, run: int) -> Taken:
        """Marks timers due within `ahead` of the store's now as running under `run`, and returns them.

        Each timer goes to one taker. Nothing is returned for a claim (epoch and owner `me`) that was past when the
        take began. Sets `taken_epoch`, and `taken_at` where it is null. The cost follows what is returned, not what is
        pending or due. When cancelled, the connection is closed, so that it does not commit much later.
        """
        ...

    async def settle(self, outcomes: Sequence[Outcome]) -> builtins.list[bool]:
        """Writes outcomes (`planning.transitions.settled`), only where the row is running under the outcome's run.

        False where that is not so: nothing was written. Rows whose cancel was requested are deleted instead (True).
        Neither owner nor epoch is looked at: the run token alone decides.
        """
        ...

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
        """Makes running rows pending again (or deletes them, where cancel was requested) in shards that `me` owns.

        (a) rows under an epoch older than the claim's, save those whose epoch is in the shard's drains under an
        incarnation that is not dead (and has a row) and whose `until` is not before `drains_over` (without one: whatever it
        is); (b) rows under the claim's
        own epoch last written (taken) longer ago than `own_age`. Both spare rows whose run is in `held`. Nothing for a claim that
        is no longer `me`'s. Leaves `due_at`, `attempt` and `taken_at`. At most `limit` rows a call: there may be more
        where it `found` so many. It waits for no row: one that another writer has locked stays as it is.

        With `within`, a hint that lets a store skip index entries of rows that ran before: rows last written longer ago
        than this may be left out, save in shards with a drain that is not over, or since less than `DRAINED_LATELY`.
        """
        ...

    async def purge(self, group_id: str, completed_for: timedelta, failed_for: timedelta, limit: int) -> int:
        """Deletes up to `limit` rows, not managed, that completed or failed longer ago than this; returns how many."""
        ...

    # The store itself

    def listen(self, listener: WakeListener) -> Callable[[], None]:
        """Calls `listener(group_id, shards)` when timers may have become due sooner; the answer ends it.

        An empty shard collection means all of the group's. A hint only: it may be lost, late or repeated.
        """
        ...

    async def now(self) -> datetime: ...

    async def ping(self) -> None:
        """Raises StoreUnavailable unless the store answers."""
        ...

    async def migrate(self) -> None:
        """Brings the schema to this release's, under a lock. Raises: SchemaVersionError when it is too new."""
        ...

    async def close(self) -> None:
        """Waits for calls under way (bounded), then gives up connections. The store is not used after it."""
        ...
