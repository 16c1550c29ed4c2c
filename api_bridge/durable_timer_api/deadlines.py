"""Time limits for many requests at once: one timer of the event loop, however many are under way.

`asyncio.timeout` does the same for one block; it asks the system for the running loop several times and sets a timer,
which together is a tenth of what a create costs.
"""

from __future__ import annotations

import asyncio


class Deadline:
    """One request's limit."""

    __slots__ = ("at", "cancelling", "expired", "task")

    def __init__(self, at: float, task: asyncio.Task[object]) -> None:
        self.at = at
        self.task = task
        self.cancelling = task.cancelling()
        self.expired = False
        """Whether the task is being cancelled for it."""

    def caused_it(self) -> bool:
        """Whether the CancelledError that was caught is this limit's doing alone; it is then over and done with."""
        if not self.expired:
            return False
        self.expired = False
        return self.task.uncancel() <= self.cancelling


class Deadlines:
    """Cancels the tasks of those that are under way for longer than `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: dict[Deadline, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> Deadline:
        """A limit for the current task, from now on."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("a limit is for a task")
        deadline = Deadline(loop.time() + self._seconds, task)
        self._running[deadline] = None
        if self._timer is None:
            self._timer = loop.call_at(deadline.at, self._look, loop)
        return deadline

    def end(self, deadline: Deadline) -> None:
        """The limit no longer holds; it may have ended before."""
        self._running.pop(deadline, None)
        if deadline.expired:
            deadline.caused_it()

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Those that began first end first, as all have the same limit."""
        self._timer = None
        now = loop.time()
        for deadline in list(self._running):
            if deadline.at > now:
                self._timer = loop.call_at(deadline.at, self._look, loop)
                break
            del self._running[deadline]
            deadline.expired = True
            deadline.task.cancel()
