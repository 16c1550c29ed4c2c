"""Records what is told about a real store, in real time, in the form that the checks read."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, cast

from durable_timer.models.results import CreateStatus, DeleteStatus, WhenRunning
from durable_timer.models.timer import Timer
from durable_timer.stores.base import Capabilities, Store, WakeListener
from tests.simulation.clocks import StoreClock
from tests.simulation.history import History, Settle, Take, Write
from tests.simulation.loop import VirtualLoop


class RealTime:
    """Stands where a simulation has its loop and its store's clock: this machine's."""

    offset = timedelta(0)
    handled = 0

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._epoch = datetime.now(UTC)

    def time(self) -> float:
        return time.monotonic() - self._began

    def now(self) -> datetime:
        return datetime.now(UTC)

    def at(self, seconds: float, offset: timedelta) -> datetime:
        return self._epoch + offset + timedelta(seconds=seconds)

    def history(self) -> History:
        """A history that is written in this time."""
        return History(cast("VirtualLoop", self), cast("StoreClock", self))


class RecordedStore:
    """One participant's store. What it is told is written down when it is told, which is later than the commit."""

    def __init__(self, store: Store, name: str, history: History, locks: dict[str, asyncio.Lock]) -> None:
        self._store = store
        self._name = name
        self._history = history
        self._locks = locks

    @property
    def capabilities(self) -> Capabilities:
        return self._store.capabilities

    def listen(self, listener: WakeListener) -> Callable[[], None]:
        return self._store.listen(listener)

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        return partial(self._call, name)

    async def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        answer = await getattr(self._store, name)(*args, **kwargs)
        if told := getattr(type(self), f"_told_{name}", None):
            told(self, args, answer)
        return answer

    async def create(self, timers: Any, if_exists: Any) -> Any:
        """One write of an id at a time: so that it is known which row a delete removed."""
        async with self._locks[timers[0].timer_id]:
            answer = await self._store.create(timers, if_exists)
        for new, result in zip(timers, answer, strict=True):
            if result.status in {CreateStatus.CREATED, CreateStatus.REPLACED}:
                self._wrote(result.status.value, result.timer, new)
        return answer

    async def delete(self, group_id: str, targets: Any, when_running: WhenRunning) -> Any:
        timer_id = targets[0].timer_id
        async with self._locks[timer_id]:
            (before,) = await self._store.get(group_id, [timer_id])
            answer = await self._store.delete(group_id, targets, when_running)
            (after,) = await self._store.get(group_id, [timer_id])
        if before is None:
            return answer
        if answer[0].status is DeleteStatus.DELETED:
            self._wrote("delete", before)
        elif answer[0].status is DeleteStatus.STOPPING:
            self._wrote("stop" if after is not None else "stopped", replace(before, run=after.run if after else None))
        return answer

    def _told_take_due(self, args: Any, answer: Any) -> None:
        history = self._history
        for timer in answer.timers:
            take = Take(history.loop.time(), self._name, args[1], timer, history.order(), timedelta(0))
            history.takes.append(take)
            history.by_run[timer.group_id, timer.timer_id, timer.run] = take
            history.last_take[self._name, timer.uid] = take

    def _told_settle(self, args: Any, answer: Any) -> None:
        history = self._history
        for outcome, applied in zip(args[0], answer, strict=True):
            take = history.by_run.get((outcome.group_id, outcome.timer_id, outcome.run))
            settle = Settle(
                history.loop.time(), history.order(), history.clock.now(), self._name, outcome, applied, take
            )
            history.settles.append(settle)

    def _told_declare_dead(self, args: Any, answer: Any) -> None:
        if answer:
            self._history.deaths.setdefault(args[0], self._history.order())

    def _told_update(self, args: Any, answer: Any) -> None:
        if answer.refusal is None:
            self._wrote("update", answer.timer, args[2])

    def _told_run(self, args: Any, answer: Any) -> None:
        self._told_verb("run", answer)

    def _told_redrive(self, args: Any, answer: Any) -> None:
        self._told_verb("redrive", answer)

    def _told_verb(self, op: str, answer: Any) -> None:
        for result in answer:
            if result.refusal is None:
                self._wrote(op, result.timer)

    def _wrote(self, op: str, row: Timer, asked: Any = None) -> None:
        history = self._history
        history.writes.append(Write(history.loop.time(), history.order(), op, row, asked))


def locks() -> dict[str, asyncio.Lock]:
    """A lock for each id."""
    return defaultdict(asyncio.Lock)
