"""How fast requests may begin where several groups are served, so that none notices another's backlog.

One pass of the event loop begins a few only, and of timers that are overdue a few are under way at once: many at once are a
long pass, in which no other group's timer leaves. A group alone is not held back. (Decision 0042.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from durable_timer.engine.holdings import Job

STARTS: Final = 16
"""Requests that one pass of the event loop begins."""

OVERDUE: Final = 8
"""Requests for overdue timers under way at once, not counting those that take long."""

OVERDUE_FOR: Final = 0.002
"""Seconds that such a request counts for, at least, and twice as many at most."""


class Pace:
    """Counts what begins and ends. `several`: whether several groups are served, at a monotonic second.

    `go_on` is called, with how many may begin, when more may after some had to wait.
    """

    def __init__(self, several: Callable[[float], bool], go_on: Callable[[int], None]) -> None:
        self._several = several
        self._go_on = go_on
        self._begun = 0
        self._overdue: dict[Job, None] = {}
        self._overdue_before: dict[Job, None] = {}
        self._stepping = False

    @property
    def full(self) -> bool:
        """Whether this pass of the event loop begins no more."""
        return self._begun >= STARTS

    def allows(self, job: Job, now: float) -> bool:
        """Whether the job may begin now. The first of its group always may: it is no backlog of which enough is under way."""
        if self.full:
            return False
        on_time = job.timer.remaining > 0
        if on_time or not job.group.under_way or len(self._overdue) < OVERDUE or not self._several(now):
            return True
        if not self._stepping:
            self._stepping = True
            asyncio.get_running_loop().call_later(OVERDUE_FOR, self._next_step)
        return False

    def begins(self, job: Job, now: float) -> None:
        if self._several(now):
            if not self._begun:
                asyncio.get_running_loop().call_soon(self._next_pass)
            self._begun += 1
        if job.timer.remaining <= 0:
            self._overdue[job] = None

    def ended(self, job: Job) -> None:
        self._overdue.pop(job, None)
        self._overdue_before.pop(job, None)

    def _next_pass(self) -> None:
        """Goes on with what the last pass of the event loop left."""
        self._begun = 0
        self._go_on(STARTS)

    def _next_step(self) -> None:
        """Counts no longer what has been under way for a step: those targets take their time, and not this machine's."""
        self._stepping = False
        for job in self._overdue_before:
            self._overdue.pop(job, None)
        self._overdue_before = dict(self._overdue)
        self._go_on(OVERDUE)
