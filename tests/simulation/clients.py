"""Clients of the service: what bridges ask of the store on their behalf."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, TypeVar

from durable_timer.errors import StoreError
from durable_timer.models.results import IfExists, Target, WhenRunning
from durable_timer.models.timer import Missed, NewTimer, RetryPolicy, Schedule, TimerChange
from durable_timer.planning.schedule import effective_starting_deadline, first_occurrence
from durable_timer.planning.sharding import shard_of
from durable_timer.stores.base import Store
from tests.simulation.clocks import EPOCH
from tests.simulation.scenario import OPERATIONS, Scenario

T = TypeVar("T")
QUICK_TIMEOUT: Final = timedelta(seconds=2)
TRIES: Final = 8


@dataclass(slots=True)
class Client:
    """Creates timers and works on those it made. `open_groups` is what a bridge knows of deleted groups."""

    store: Store
    scenario: Scenario
    rng: random.Random
    open_groups: set[str]
    ahead: tuple[float, ...] = (0.4, 3.0, 10.0, 20.0)
    """How many seconds ahead timers are created, at most."""
    acknowledged: list[tuple[str, str]] = field(default_factory=list)

    async def create(self, name: str, *, due: float | None) -> None:
        """Creates a one-shot, again and again until it is acknowledged; due at a virtual time where one is given."""
        group_id = self._group()
        if group_id not in self.open_groups:
            return
        new = self._new(group_id, name, soon=self.rng.random() < 0.5)
        if due is not None:
            new.execute_at, new.delay = EPOCH + timedelta(seconds=due), None
        await self._create(new, IfExists.FAIL)

    async def schedule(self, name: str) -> None:
        """Creates a timer that fires at every minute."""
        group_id = self._group()
        now = await self._until_answered(self.store.now)
        if now is None or group_id not in self.open_groups:
            return
        schedule = Schedule(cron="* * * * *", missed=self.rng.choice((Missed.RUN, Missed.SKIP)))
        new = self._new(group_id, name, soon=False)
        new.execute_at, new.delay, new.schedule = first_occurrence(schedule, now), None, schedule
        new.suspended = False
        new.starting_deadline = effective_starting_deadline(schedule, None)
        new.callback_url = f"http://{self.rng.choice(('ok.test', 'slow.test', 'erring.test'))}/schedule"
        await self._create(new, IfExists.FAIL)

    async def operate(self) -> None:
        """Does one thing to a timer of its own, newer ones rather."""
        if not self.acknowledged:
            return
        group_id, timer_id = self.acknowledged[-1 - int(len(self.acknowledged) * self.rng.random() ** 2)]
        if group_id not in self.open_groups:
            return
        operation = self.rng.choices(tuple(OPERATIONS), tuple(OPERATIONS.values()))[0]
        await getattr(self, f"_{operation}")(group_id, timer_id)

    def _group(self) -> str:
        return self.rng.choice(tuple(self.scenario.groups))

    def _new(self, group_id: str, timer_id: str, *, soon: bool) -> NewTimer:
        hosts = self.scenario.hosts
        host = self.rng.choices(tuple(hosts), tuple(hosts.values()))[0]
        longest = self.ahead[0] if soon else self.rng.choice(self.ahead)
        quick = host in {"edge.test", "hanging.test"}
        return NewTimer(
            group_id=group_id,
            timer_id=timer_id,
            shard=shard_of(timer_id, self.scenario.groups[group_id]),
            callback_url=f"http://{host}/{timer_id}",
            fingerprint=self.rng.randbytes(8),
            delay=timedelta(milliseconds=int(1000 * longest * self.rng.random())),
            payload=b'{"n": 1}',
            callback_timeout=QUICK_TIMEOUT if quick else None,
            retry_policy=RetryPolicy(max_attempts=2) if host == "hanging.test" else None,
            starting_deadline=timedelta(seconds=2) if self.rng.random() < 0.05 else None,
            suspended=self.rng.random() < 0.02,
        )

    async def _create(self, new: NewTimer, if_exists: IfExists) -> None:
        if await self._until_answered(lambda: self.store.create([new], if_exists)):
            self.acknowledged.append((new.group_id, new.timer_id))

    async def _until_answered(self, call: Callable[[], Awaitable[T]]) -> T | None:
        for _ in range(TRIES):
            try:
                return await call()
            except StoreError:
                await asyncio.sleep(0.1 + 0.5 * self.rng.random())
        return None

    async def _once(self, call: Awaitable[Any]) -> None:
        try:
            await call
        except StoreError:
            """Whether it was done stays unknown, as it does to a client; the checks go by what was committed."""

    async def _delete(self, group_id: str, timer_id: str) -> None:
        target = [Target(timer_id)]
        await self._until_answered(lambda: self.store.delete(group_id, target, WhenRunning.REFUSE))

    async def _stop(self, group_id: str, timer_id: str) -> None:
        target = [Target(timer_id)]
        await self._until_answered(lambda: self.store.delete(group_id, target, WhenRunning.STOP))

    async def _move(self, group_id: str, timer_id: str) -> None:
        """A PUT with a new time: a little later, at once, or much later."""
        delay = timedelta(milliseconds=int(1000 * self.rng.choice((0.0, 0.3, 3.0, 15.0)) * self.rng.random()))
        await self._once(self.store.update(group_id, Target(timer_id), TimerChange(delay=delay)))

    async def _replace(self, group_id: str, timer_id: str) -> None:
        new = self._new(group_id, timer_id, soon=self.rng.random() < 0.5)
        await self._once(self.store.create([new], IfExists.REPLACE))

    async def _change(self, group_id: str, timer_id: str) -> None:
        await self._once(self.store.update(group_id, Target(timer_id), TimerChange(payload=b'{"n": 2}')))

    async def _run(self, group_id: str, timer_id: str) -> None:
        await self._once(self.store.run(group_id, [Target(timer_id)]))

    async def _redrive(self, group_id: str, timer_id: str) -> None:
        await self._once(self.store.redrive(group_id, [Target(timer_id)]))

    async def _suspend(self, group_id: str, timer_id: str) -> None:
        await self._once(self.store.update(group_id, Target(timer_id), TimerChange(suspended=True)))
        await asyncio.sleep(4.0 * self.rng.random())
        await self._until_answered(lambda: self.store.update(group_id, Target(timer_id), TimerChange(suspended=False)))

    async def _twice(self, group_id: str, timer_id: str) -> None:
        """A cancel and a new timer of the same id, from two connections at once."""
        new = self._new(group_id, timer_id, soon=True)
        await asyncio.gather(self._delete(group_id, timer_id), self._once(self.store.create([new], IfExists.REPLACE)))
