"""Who may be sent next: delivery slots divided so that no target host and no group can take all of them.

Jobs wait in lanes, one for each group and host. A host has at most `slots_per_target` requests under way, and, while
others have some too, at most half as many as there is room; a group, where several are served, at most as many as there
are slots free, which is the room of its hosts then. These bounds move with what is free (dynamic thresholds, Choudhury
and Hahne 1998), so whoever hangs, and however many they are, some slots stay free for the rest. What waits too long for
a slow host is deferred.
"""

from __future__ import annotations

import random
from collections import OrderedDict, deque
from collections.abc import Callable
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from durable_timer.engine.holdings import Holdings, Job

SLOW_AFTER: Final = 0.2
"""Seconds that a timer may wait for a slot before its host counts as slow, if it is the host that takes its time."""

PROMPT: Final = 0.1
"""A host whose requests under way are all younger than this many seconds is not slow, whoever waits: we are."""

WAIT_MAX: Final = 1.0
"""Seconds after which a waiting timer of a slow host is deferred."""

DEFERRAL_MIN: Final = 1.0
"""Seconds of the first deferral; doubles while the host stays slow."""

DEFERRAL_MAX: Final = 60.0
"""Longest deferral in seconds, before its jitter of ±50 %."""

TRIES: Final = 4
"""Lanes that are looked at when a slot becomes free; the next review looks at all."""

Lane = tuple[str, str]
"""A group's id and a host."""


@lru_cache(maxsize=8192)
def target_of(url: str) -> str:
    """The host that a URL's requests are counted under: scheme, host and port."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.lower()}"


class _Target:
    __slots__ = ("calm_since", "deferral", "doubles_at", "lanes", "slow", "under_way", "waiting")

    def __init__(self) -> None:
        self.under_way: dict[Job, float] = {}
        self.waiting = 0
        self.lanes: dict[Lane, None] = {}
        self.slow = False
        self.deferral = DEFERRAL_MIN
        self.doubles_at = 0.0
        self.calm_since = 0.0

    @property
    def in_flight(self) -> int:
        return len(self.under_way)

    def oldest_under_way(self, now: float) -> float:
        """Seconds since the oldest request under way was let through; zero without one."""
        return now - next(iter(self.under_way.values()), now)

    @property
    def idle(self) -> bool:
        """Whether nothing is known of it that a new record would not say."""
        return not (self.in_flight or self.waiting or self.slow) and self.deferral == DEFERRAL_MIN


class Targets:
    """Lets jobs through to `start`; what a slow host cannot take goes to `defer` with the seconds to wait."""

    def __init__(
        self,
        slots: int,
        slots_per_target: int,
        holdings: Holdings,
        rng: random.Random,
        start: Callable[[Job], None],
        defer: Callable[[Job, float], None],
    ) -> None:
        self._free = slots
        self._waiting = 0
        self._per_target = slots_per_target
        self._holdings = holdings
        self._rng = rng
        self._start = start
        self._defer = defer
        self._targets: dict[str, _Target] = {}
        self._lanes: OrderedDict[Lane, deque[Job]] = OrderedDict()
        self._watched: dict[str, None] = {}

    def submit(self, job: Job, now: float) -> None:
        """A job whose time has come."""
        job.target = target_of(job.timer.callback_url)
        job.ready_at = now
        target = self._targets.get(job.target)
        if target is None:
            target = self._targets[job.target] = _Target()
        lane = job.key.group_id, job.target
        if lane not in self._lanes and self._may_start(job, target):
            self._begin(job, target, now)
        elif target.slow and self._full(target):
            self._put_off(target, job, now)
        else:
            self._lanes.setdefault(lane, deque()).append(job)
            target.lanes[lane] = None
            target.waiting += 1
            self._waiting += 1
            self._watched[job.target] = None

    def done(self, job: Job, now: float) -> None:
        """A job that was started is over, sent or not."""
        target = self._targets[job.target]
        del target.under_way[job]
        job.group.under_way -= 1
        self._free += 1
        for _ in range(min(TRIES, len(self._lanes))):
            if self._advance(next(iter(self._lanes)), now):
                break
        if target.idle and job.target not in self._watched:
            del self._targets[job.target]

    def review(self, now: float) -> None:
        """Fills free slots, judges who is slow and defers what waits too long; called each 100 ms."""
        for lane in list(self._lanes):
            while self._advance(lane, now):
                pass
        for name in list(self._watched):
            target = self._targets[name]
            oldest = min((self._lanes[lane][0].ready_at for lane in target.lanes), default=now)
            waits = now - oldest > SLOW_AFTER or (target.slow and target.in_flight >= self._per_target)
            target.slow = waits and target.oldest_under_way(now) > PROMPT
            if target.slow:
                target.calm_since = now
                self._relieve(target, now)
            elif now - target.calm_since > target.deferral:
                target.deferral, target.doubles_at = DEFERRAL_MIN, 0.0
            if target.idle or not (target.waiting or target.slow or target.deferral > DEFERRAL_MIN):
                del self._watched[name]
                if target.idle:
                    del self._targets[name]

    def _may_start(self, job: Job, target: _Target) -> bool:
        room = self._free - job.group.under_way if self._holdings.crowded and job.group.under_way else self._free
        if room <= 0 or target.in_flight >= self._per_target:
            return False
        return len(self._targets) == 1 or target.in_flight < max(1, room // 2)

    def _begin(self, job: Job, target: _Target, now: float) -> None:
        self._free -= 1
        target.under_way[job] = now
        job.group.under_way += 1
        job.held = target.slow
        self._start(job)

    def _advance(self, lane: Lane, now: float) -> bool:
        """Starts the first job of a lane where it may; whether it did. The lane goes to the end of the round."""
        jobs = self._lanes[lane]
        self._lanes.move_to_end(lane)
        target = self._targets[lane[1]]
        while jobs and jobs[0].dropped:
            jobs.popleft()
            self._left(target)
        started = bool(jobs) and self._may_start(jobs[0], target)
        if started:
            self._left(target)
            self._begin(jobs.popleft(), target, now)
        if not jobs:
            self._close(lane, target)
            return False
        return started

    def _left(self, target: _Target) -> None:
        target.waiting -= 1
        self._waiting -= 1

    def _close(self, lane: Lane, target: _Target) -> None:
        del self._lanes[lane]
        del target.lanes[lane]

    def _relieve(self, target: _Target, now: float) -> None:
        for lane in list(target.lanes):
            jobs = self._lanes[lane]
            while jobs and now - jobs[0].ready_at > WAIT_MAX:
                self._left(target)
                self._put_off(target, jobs.popleft(), now)
            while jobs and self._full(target):
                self._left(target)
                self._put_off(target, jobs.pop(), now)
            if not jobs:
                self._close(lane, target)

    def _full(self, target: _Target) -> bool:
        """Whether a slow host, or all that wait, hold what they may of the places."""
        places = self._holdings.places
        return target.in_flight + target.waiting >= places // 2 or self._waiting >= places // 4

    def _put_off(self, target: _Target, job: Job, now: float) -> None:
        if job.dropped:
            return
        if now >= target.doubles_at:
            if target.doubles_at:
                target.deferral = min(DEFERRAL_MAX, target.deferral * 2)
            target.doubles_at = now + target.deferral
        self._defer(job, target.deferral * self._rng.uniform(0.5, 1.5))
