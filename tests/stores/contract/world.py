"""A group, a member and timers of a test's own in a store that other tests may use at the same time."""

import hashlib
import itertools
import random
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from durable_timer.models.group import Group, GroupRegistration, TimerGroupSpec
from durable_timer.models.outcome import Outcome, OutcomeKind
from durable_timer.models.ownership import Claim, Member, MemberReport, Shard
from durable_timer.models.results import CreateResult, IfExists
from durable_timer.models.timer import UNSET, NewTimer, TakenTimer, Timer, TimerState, Unset
from durable_timer.planning.sharding import shard_of
from durable_timer.stores.base import Store, Swept, TakeGroup, Taken, TakeShard

NOW = timedelta(0)
LATER = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)

_run = random.SystemRandom()


def new_run() -> int:
    """A run token that nobody had before."""
    return _run.getrandbits(62)


def unique(word: str) -> str:
    return f"{word}-{uuid.uuid4().hex[:12]}"


def unset(row: object, *names: str) -> bool:
    """Whether all these fields are None."""
    return all(getattr(row, name) is None for name in names)


def fingerprint(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


@dataclass(slots=True)
class World:
    """`store` is the first process; `open` gives another one (`shared` stores only), closed with the test."""

    store: Store
    open: Callable[[], Awaitable[Store]]
    pass_time: Callable[[timedelta], Awaitable[None]]
    shards: int = 4
    group_id: str = field(default_factory=lambda: unique("g"))
    pool: str = field(default_factory=lambda: unique("p"))
    owner: str = field(default_factory=lambda: unique("file:o"))
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    async def elsewhere(self) -> Store:
        """Another process's store, or the only one where one process owns the database."""
        return self.store if self.store.capabilities.exclusive else await self.open()

    # Groups and members

    def registration(self, **fields: Any) -> GroupRegistration:
        said: dict[str, Any] = {
            "group_id": self.group_id,
            "owner": self.owner,
            "shards": self.shards,
            "pool": self.pool,
            "spec": TimerGroupSpec(),
            "generation": 1,
        }
        return GroupRegistration(**(said | fields))

    async def register(self, **fields: Any) -> Group:
        return await self.store.register_group(self.registration(**fields))

    async def join(self, *, host: str | None = None, pool: str | None = None, store: Store | None = None) -> str:
        """A new member's incarnation."""
        incarnation = unique("m")
        await (store or self.store).join(
            Member(incarnation, f"name-{incarnation}", pool or self.pool, host, 0, False, False, MemberReport())
        )
        return incarnation

    async def shard_rows(self) -> list[Shard]:
        return [row for row in (await self.store.shards(self.pool))[0] if row.group_id == self.group_id]

    async def shard(self, number: int = 0) -> Shard:
        return next(row for row in await self.shard_rows() if row.shard == number)

    async def seen(self, shards: Iterable[int] | None = None) -> list[Claim]:
        """The shards under the epochs that the store has now."""
        wanted = None if shards is None else set(shards)
        rows = await self.shard_rows()
        return [Claim(*row.key, row.epoch) for row in rows if wanted is None or row.shard in wanted]

    async def claim(self, me: str, shards: Iterable[int] | None = None, store: Store | None = None) -> list[Claim]:
        """Claims the shards (all by default) as they stand; all must be given."""
        seen = await self.seen(shards)
        epochs = await (store or self.store).claim(seen, me)
        assert None not in epochs, (seen, epochs)
        return [Claim(item.group_id, item.shard, epoch) for item, epoch in zip(seen, epochs, strict=True) if epoch]

    async def executor(self, store: Store | None = None) -> "Executor":
        """A new member that owns all shards."""
        me = await self.join(store=store)
        return Executor(self, store or self.store, me, await self.claim(me, store=store))

    async def die(self, incarnation: str, counter: int = 0) -> None:
        assert await self.store.declare_dead(incarnation, counter)

    # Timers

    def new(self, timer_id: str, **fields: Any) -> NewTimer:
        """A create, due now unless `execute_at` or `delay` say otherwise; its fingerprint is of the id and `says`."""
        said: dict[str, Any] = {
            "group_id": self.group_id,
            "shard": shard_of(timer_id, self.shards),
            "callback_url": "http://target.example/hook",
            "fingerprint": fingerprint(f"{timer_id} {fields.pop('says', '')}"),
        }
        if "execute_at" not in fields and "delay" not in fields:
            said["delay"] = NOW
        return NewTimer(timer_id=timer_id, **(said | fields))

    async def create(self, *timer_ids: str, **fields: Any) -> list[Timer]:
        results = await self.results(*(self.new(timer_id, **fields) for timer_id in timer_ids))
        return [result.timer for result in results]

    async def results(self, *timers: NewTimer, if_exists: IfExists = IfExists.FAIL) -> list[CreateResult]:
        return await self.store.create(timers, if_exists)

    async def find(self, timer_id: str) -> Timer | None:
        return (await self.store.get(self.group_id, [timer_id]))[0]

    async def row(self, timer_id: str) -> Timer:
        row = await self.find(timer_id)
        assert row is not None, f"{timer_id} is gone"
        return row

    def id_in(self, shard: int) -> str:
        """A timer id, not used before, that lies in this shard."""
        ids = (f"t{number}" for number in self._numbers)
        return next(timer_id for timer_id in ids if shard_of(timer_id, self.shards) == shard)

    async def bring(self, executor: "Executor", timer_id: str, state: TimerState, **fields: Any) -> Timer:
        """A timer in that state, none other being due."""
        if state is TimerState.PENDING:
            await self.create(timer_id, **({"delay": LATER} | fields))
            return await self.row(timer_id)
        await self.create(timer_id, **fields)
        (taken,) = (await executor.take()).timers
        if state is not TimerState.RUNNING:
            kind = OutcomeKind.COMPLETED if state is TimerState.COMPLETED else OutcomeKind.FAILED
            assert await executor.settle(taken, kind, attempt=1)
        return await self.row(timer_id)


@dataclass(slots=True)
class Executor:
    """A member, the claims it holds, and the store it works through."""

    world: World
    store: Store
    me: str
    claims: list[Claim]

    async def take(
        self,
        *,
        limit: int = 1000,
        ahead: timedelta = NOW,
        run: int | None = None,
        claims: Sequence[Claim] | None = None,
    ) -> Taken:
        """Takes from all claimed shards, or those named."""
        shards = [TakeShard(claim.shard, claim.epoch, None) for claim in (self.claims if claims is None else claims)]
        request = TakeGroup(self.world.group_id, shards, limit)
        return await self.store.take_due([request], self.me, ahead, new_run() if run is None else run)

    async def take_one(self) -> TakenTimer:
        (taken,) = (await self.take()).timers
        return taken

    async def settle(self, taken: TakenTimer, kind: OutcomeKind, **fields: Any) -> bool:
        return (await self.store.settle([outcome(taken, kind, **fields)]))[0]

    async def sweep(
        self,
        *,
        held: Iterable[int] = (),
        own_age: timedelta = LATER,
        limit: int = 1000,
        within: timedelta | None = None,
        drains_over: datetime | Unset | None = UNSET,
    ) -> Swept:
        """Drains are over by the store's now unless said otherwise."""
        if isinstance(drains_over, Unset):
            drains_over = await self.store.now()
        return await self.store.sweep(
            self.claims, self.me, frozenset(held), own_age, limit, within, drains_over=drains_over
        )

    async def release(self, until: timedelta = LATER) -> list[bool]:
        return await self.store.release(self.claims, self.me, until)


def outcome(taken: TakenTimer, kind: OutcomeKind, **fields: Any) -> Outcome:
    return Outcome(group_id=taken.group_id, timer_id=taken.timer_id, run=taken.run, kind=kind, **fields)
