"""Places per target host, so that one slow or dead target does not hold up the others."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from durable_timer.engine.holdings import Holdings, Job

SLOW_AFTER: Final = 0.2
"""Seconds that a timer may wait for a slot of its target before the target counts as slow."""

WAIT_MAX: Final = 1.0
"""Seconds after which a waiting timer of a slow target is deferred."""

DEFERRAL_MIN: Final = 1.0
"""Seconds of the first deferral; doubles while the target stays slow."""

DEFERRAL_MAX: Final = 60.0
"""Longest deferral in seconds, before its jitter of ±50 %."""

FORGET_AFTER: Final = 120.0
"""Seconds without a request after which a target's record goes."""


@lru_cache(maxsize=8192)
def target_of(url: str) -> str:
    """The host that a URL's requests are counted under: scheme, host and port."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.lower()}"


class _Target:
    __slots__ = ("calm_since", "deferral", "doubles_at", "in_flight", "slow", "used_at", "waiting")

    def __init__(self) -> None:
        self.in_flight = 0
        self.waiting: deque[Job] = deque()
        self.slow = False
        self.deferral = DEFERRAL_MIN
        self.doubles_at = 0.0
        self.calm_since = 0.0
        self.used_at = 0.0


class Targets:
    """Lets jobs through to `start`, so many per target at once; what a slow target cannot take goes to `defer`."""

    def __init__(
        self,
        slots_per_target: int,
        holdings: Holdings,
        rng: random.Random,
        start: Callable[[Job], None],
        defer: Callable[[Job, float], None],
    ) -> None:
        self._slots = slots_per_target
        self._holdings = holdings
        self._rng = rng
        self._start = start
        self._defer = defer
        self._targets: dict[str, _Target] = {}

    def submit(self, job: Job, now: float) -> None:
        """A job whose time has come."""
        job.target = target_of(job.timer.callback_url)
        job.ready_at = now
        target = self._targets.get(job.target)
        if target is None:
            target = self._targets[job.target] = _Target()
        target.used_at = now
        if target.in_flight < self._slots and not target.waiting:
            target.in_flight += 1
            self._start(job)
        elif target.slow and self._full(target):
            self._put_off(target, job, now)
        else:
            target.waiting.append(job)

    def done(self, job: Job, now: float) -> None:
        """A job that was started is over, sent or not."""
        target = self._targets[job.target]
        target.in_flight -= 1
        target.used_at = now
        while target.waiting and target.in_flight < self._slots:
            following = target.waiting.popleft()
            if not following.dropped:
                following.held = target.slow
                target.in_flight += 1
                self._start(following)

    def review(self, now: float) -> None:
        """Judges who is slow and defers what waits too long; called each 100 ms."""
        for name, target in list(self._targets.items()):
            while target.waiting and target.waiting[0].dropped:
                target.waiting.popleft()
            target.slow = (bool(target.waiting) and now - target.waiting[0].ready_at > SLOW_AFTER) or (
                target.slow and target.in_flight >= self._slots
            )
            if target.slow:
                target.calm_since = now
                self._relieve(target, now)
            elif now - target.calm_since > target.deferral:
                target.deferral = DEFERRAL_MIN
                if not target.in_flight and now - target.used_at > FORGET_AFTER:
                    del self._targets[name]

    def _relieve(self, target: _Target, now: float) -> None:
        while target.waiting and now - target.waiting[0].ready_at > WAIT_MAX:
            self._put_off(target, target.waiting.popleft(), now)
        while target.waiting and self._full(target):
            self._put_off(target, target.waiting.pop(), now)

    def _full(self, target: _Target) -> bool:
        return target.in_flight + len(target.waiting) >= self._holdings.places // 2

    def _put_off(self, target: _Target, job: Job, now: float) -> None:
        if job.dropped:
            return
        if now >= target.doubles_at:
            if target.doubles_at:
                target.deferral = min(DEFERRAL_MAX, target.deferral * 2)
            target.doubles_at = now + target.deferral
        self._defer(job, target.deferral * self._rng.uniform(0.5, 1.5))
