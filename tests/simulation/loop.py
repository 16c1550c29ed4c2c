"""An event loop in virtual time, whose every handle belongs to a simulated process."""

import asyncio
import contextlib
import contextvars
import heapq
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")
LEAST_STEP = 5e-5


class Process:
    """What crashes and pauses as one. What runs in no process belongs to the world, which does neither."""

    __slots__ = ("alive", "context", "kept", "name", "paused", "withheld")

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.paused = False
        self.withheld: list[SimHandle] = []
        self.kept: list[object] = []
        self.context = contextvars.Context()
        self.context.run(PROCESS.set, self)

    def __repr__(self) -> str:
        return self.name


PROCESS: contextvars.ContextVar[Process] = contextvars.ContextVar("process")


class SimHandle:
    """A callback to run, in the process of its context."""

    __slots__ = ("args", "callback", "cancelled_", "context", "process", "when_")

    def __init__(
        self, when: float, callback: Callable[..., object], args: tuple[Any, ...], context: contextvars.Context
    ) -> None:
        self.when_ = when
        self.callback: Callable[..., object] | None = callback
        self.args = args
        self.context = context
        self.process: Process | None = context.get(PROCESS)
        self.cancelled_ = False

    def cancel(self) -> None:
        self.cancelled_ = True
        self.callback = None
        self.args = ()

    def cancelled(self) -> bool:
        return self.cancelled_

    def when(self) -> float:
        return self.when_


class SimFuture(asyncio.Future[Any]):
    """A future that hashes by its number, so that no set of futures is ordered by address."""

    number: int

    def __hash__(self) -> int:
        return self.number


class SimTask(asyncio.Task[Any]):
    """A task that hashes by its number and knows its process."""

    def __init__(self, work: Any, *, number: int, process: Process | None, **rest: Any) -> None:
        self.number = number
        self.process = process
        super().__init__(work, **rest)

    def __hash__(self) -> int:
        return self.number


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs handles in the order of virtual time, which advances only when nothing is ready.

    Delays are rounded to the nearest millisecond, as uvloop does (so a timer may fire half a millisecond early), and
    are never shorter than 50 µs, so that whoever asks again for the rest of a delay gets on.

    `crash` drops a process's handles and keeps its tasks referenced: nothing of it runs again, `finally` included.
    `pause` withholds its handles until `resume`; its clocks go on.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._numbers = 0
        self._ready: deque[SimHandle] = deque()
        self._timers: list[tuple[float, int, SimHandle]] = []
        self._tasks: list[SimTask] = []
        self._prune_above = 100
        self._closed = False
        self._running = False
        super().__init__()
        self.handled = 0
        self.errors: list[str] = []

    # What the simulation asks

    def run_until(self, done: Callable[[], bool], deadline: float) -> bool:
        """Runs until `done` holds (asked whenever time is about to advance), the deadline passed, or nothing is left.

        Returns whether `done` holds.
        """
        with self._as_running():
            while True:
                self._run_ready()
                if done():
                    return True
                if not self._timers or self._timers[0][0] > deadline:
                    return False
                self._advance()

    def crash(self, process: Process) -> None:
        process.alive = False
        process.kept.extend(task for task in self._tasks if task.process is process and not task.done())
        process.kept.extend(process.withheld)
        process.withheld = []

    def pause(self, process: Process) -> None:
        process.paused = True

    def resume(self, process: Process) -> None:
        process.paused = False
        self._ready.extend(process.withheld)
        process.withheld = []

    def spawn(self, process: Process, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Starts a task in a process."""
        task: asyncio.Task[T] = self.create_task(work, name=name, context=process.context.copy())
        return task

    def dispose(self) -> None:
        """Ends what is left of all tasks, once nothing of them matters any more."""
        self._closed = True
        self._ready.clear()
        self._timers.clear()
        for task in self._tasks:
            if task.done():
                continue
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            work: Any = task.get_coro()
            for _ in range(20):
                try:
                    work.close()
                except BaseException:  # noqa: BLE001, S112 - a coroutine that awaits in `finally` is closed again
                    continue
                break
        self._tasks.clear()

    def _run_ready(self) -> None:
        ready = self._ready
        while ready:
            handle = ready.popleft()
            callback = handle.callback
            if callback is None:
                continue
            process = handle.process
            if process is not None:
                if not process.alive:
                    process.kept.append(handle)
                    continue
                if process.paused:
                    process.withheld.append(handle)
                    continue
            self.handled += 1
            try:
                handle.context.run(callback, *handle.args)
            except Exception as error:
                if process is None:  # the simulation's own fault
                    raise
                name = getattr(callback, "__qualname__", "a callback")
                self.call_exception_handler({"message": f"in {name} of {process}", "exception": error})

    def _advance(self) -> None:
        timers = self._timers
        self._now = max(self._now, timers[0][0])
        while timers and timers[0][0] <= self._now:
            handle = heapq.heappop(timers)[2]
            if handle.callback is not None:
                self._ready.append(handle)

    @contextlib.contextmanager
    def _as_running(self) -> Iterator[None]:
        events._set_running_loop(self)
        self._running = True
        try:
            yield
        finally:
            self._running = False
            events._set_running_loop(None)

    # What asyncio asks

    def time(self) -> float:
        return self._now

    def call_soon(  # type: ignore[override]
        self, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> Any:
        handle = SimHandle(self._now, callback, args, context if context is not None else contextvars.copy_context())
        if not self._closed:
            self._ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> Any:
        when = self._now + max(round(delay, 3), LEAST_STEP)
        return self._schedule(when, callback, args, context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> Any:
        return self.call_later(when - self._now, callback, *args, context=context)

    def call_exactly(
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> SimHandle:
        """`call_later` without rounding: for networks and weather."""
        return self._schedule(self._now + max(delay, 1e-6), callback, args, context)

    def _schedule(
        self, when: float, callback: Any, args: tuple[Any, ...], context: contextvars.Context | None
    ) -> SimHandle:
        handle = SimHandle(when, callback, args, context if context is not None else contextvars.copy_context())
        if not self._closed:
            self._numbers += 1
            heapq.heappush(self._timers, (when, self._numbers, handle))
        return handle

    def create_future(self) -> Any:
        future = SimFuture(loop=self)
        self._numbers += 1
        future.number = self._numbers
        return future

    def create_task(self, coro: Any, *, name: object = None, context: Any = None) -> Any:
        self._numbers += 1
        context = context if context is not None else contextvars.copy_context()
        task = SimTask(
            coro,
            number=self._numbers,
            process=context.get(PROCESS),
            loop=self,
            name=str(name or f"task-{self._numbers}"),
            context=context,
        )
        self._tasks.append(task)
        if len(self._tasks) > self._prune_above:
            self._tasks = [task for task in self._tasks if not task.done()]
            self._prune_above = 2 * len(self._tasks) + 100
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self._closed:
            self.errors.append(f"{context.get('message')}: {context.get('exception')!r}")

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return self._closed

    def __del__(self) -> None:
        """Nothing is open: no selector, no sockets."""

    def _timer_handle_cancelled(self, handle: object) -> None:
        """Cancelled handles are skipped when their time comes."""
