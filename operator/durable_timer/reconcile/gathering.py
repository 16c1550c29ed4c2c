"""Calls about single timers that are made at the same time go to the store together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Final, Generic, TypeVar

from durable_timer.clock import Clock
from durable_timer.errors import NotLeading, StoreError, UnreadableRow
from durable_timer.models.results import CreateResult, DeleteResult, IfExists, Target, WhenRunning, WriteResult
from durable_timer.models.timer import NewTimer, Timer, TimerChange
from durable_timer.reconcile.base import Stores
from durable_timer.stores.base import Store

T = TypeVar("T")
R = TypeVar("R")

ITEMS_MAX: Final = 500
"""Items of one call."""

_TIME_FOR: Final = 5.0
"""Seconds for which a store's clock is carried on by this process's."""


class Gathered(Generic[T, R]):
    """One call at a time; what is asked for meanwhile goes together into the next one.

    Whoever comes first makes the call for all that wait; nothing runs that nobody waits for.
    """

    def __init__(self, call: Callable[[Sequence[T]], Awaitable[Sequence[R]]]) -> None:
        self._call = call
        self._turn = asyncio.Lock()
        self._waiting: dict[asyncio.Future[R], T] = {}

    async def ask(self, item: T) -> R:
        """The answer to this item; raises the error of the call that it was part of."""
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting[answer] = item
        try:
            async with self._turn:
                if not answer.done():
                    await self._answer_next()
            return await answer
        finally:
            self._waiting.pop(answer, None)

    async def _answer_next(self) -> None:
        """Calls for the longest waiting. They wait on, and call themselves, when this task is cancelled meanwhile."""
        batch = dict(islice(self._waiting.items(), ITEMS_MAX))
        try:
            results = await self._call(list(batch.values()))
        except (StoreError, NotLeading) as error:
            for answer in batch:
                if not answer.done():
                    answer.set_exception(error)
        else:
            for answer, result in zip(batch, results, strict=True):
                if not answer.done():
                    answer.set_result(result)
        for answer in batch:
            self._waiting.pop(answer, None)


class GroupRows:
    """The rows of one group, read and written one at a time by many. All raise StoreError.

    Those that write raise NotLeading, and send nothing, when `leading` says no: a leader that stood still for a while
    must not go on in the middle of what another has finished since.
    """

    def __init__(self, store: Store, group_id: str, leading: Callable[[], bool]) -> None:
        self._store = store
        self._group_id = group_id
        self._leading = leading
        self._gets: Gathered[str, Timer | None] = Gathered(self._get)
        self._creates: Gathered[NewTimer, CreateResult] = Gathered(self._create)
        self._deletes: Gathered[Target, DeleteResult] = Gathered(self._delete)

    async def get(self, timer_id: str) -> Timer | None:
        """A row as it is."""
        try:
            return await self._gets.ask(timer_id)
        except UnreadableRow:  # of another perhaps, that was asked for at the same time
            [row] = await self._store.get(self._group_id, [timer_id])
            return row

    async def create(self, timer: NewTimer) -> CreateResult:
        """Creates a row where none is."""
        return await self._creates.ask(timer)

    async def delete(self, target: Target) -> DeleteResult:
        """Deletes a managed row; one that runs goes with its settle."""
        return await self._deletes.ask(target)

    async def update(self, target: Target, change: TimerChange) -> WriteResult:
        """Changes a row, managed or not."""
        self._require_leading()
        return await self._store.update(self._group_id, target, change, managed=True)

    async def run(self, target: Target) -> WriteResult:
        """See `Store.run`."""
        self._require_leading()
        [result] = await self._store.run(self._group_id, [target])
        return result

    async def redrive(self, target: Target) -> WriteResult:
        """See `Store.redrive`."""
        self._require_leading()
        [result] = await self._store.redrive(self._group_id, [target])
        return result

    async def _get(self, timer_ids: Sequence[str]) -> Sequence[Timer | None]:
        return await self._store.get(self._group_id, timer_ids)

    async def _create(self, timers: Sequence[NewTimer]) -> Sequence[CreateResult]:
        self._require_leading()
        return await self._store.create(timers, IfExists.FAIL)

    async def _delete(self, targets: Sequence[Target]) -> Sequence[DeleteResult]:
        self._require_leading()
        return await self._store.delete(self._group_id, targets, WhenRunning.STOP, managed=True)

    def _require_leading(self) -> None:
        if not self._leading():
            raise NotLeading(f"not leading: the timers of group {self._group_id} stay as they are")


class StoreRows:
    """The rows of all groups, so that all who ask about one group at the same time are gathered."""

    def __init__(self, stores: Stores, leading: Callable[[], bool]) -> None:
        self._stores = stores
        self._leading = leading
        self._groups: dict[tuple[str, str], GroupRows] = {}

    def of(self, store_name: str, group_id: str) -> GroupRows:
        """The rows of one group. Raises: KeyError for a store that is not there."""
        key = store_name, group_id
        if key not in self._groups:
            self._groups[key] = GroupRows(self._stores[store_name], group_id, self._leading)
        return self._groups[key]


class StoreClock:
    """A store's now, asked for once in a while."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._said: datetime | None = None
        self._at = 0.0

    async def now(self) -> datetime:
        """Its now, to some milliseconds. Raises: StoreError."""
        if self._said is None or self._clock.monotonic() - self._at > _TIME_FOR:
            self._said = await self._store.now()
            self._at = self._clock.monotonic()
        return self._said + timedelta(seconds=self._clock.monotonic() - self._at)
