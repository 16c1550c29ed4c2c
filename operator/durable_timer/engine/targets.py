"""Who may be sent next: delivery slots divided so that no target host and no group can take all of them.

Jobs wait in lanes, one for each group and host. A host has at most `slots_per_target` requests under way, and, while
others have some too, at most half as many as there is room; a group, where several are served, at most as many as there
are slots free, which is the room of its hosts then. These bounds move with what is free (dynamic thresholds, Choudhury
and Hahne 1998), so whoever hangs, and however many they are, some slots stay free for the rest. What waits too long for
a slow host is deferred, so that as many come back in a second as the host is likely to take then.

Where several groups are served, one pass of the event loop begins a few requests only, in turns among the lanes: what
is due in many of one group makes no pass long that another group's timer has to wait for.
"""

from __future__ import annotations

import asyncio
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
"""Seconds of the first deferral; doubles while the host stays slow, and with as many as may come back in that time."""

DEFERRAL_MAX: Final = 60.0
"""Longest deferral in seconds, before its jitter of ±50 %."""

TRIES: Final = 4
"""Lanes in a row that are looked at in vain when a slot becomes free; the next review looks at all."""

STARTS: Final = 16
"""Requests that one pass of the event loop begins."""

OVERDUE: Final = 8
"""Requests for overdue timers under way at once while several groups are served, not counting those that take long."""

OVERDUE_FOR: Final = 0.002
"""Seconds that such a request counts for, at least, and twice as many at most."""

RETURNS: Final = 200.0
"""Timers put off for a slow host that come back in a second, at least: else twice as many as it took lately."""

RATE_GAIN: Final = 0.1
"""Weight of the last review's span in the rate at which a host takes requests: it looks back about a second."""

REVIEWS: Final = 10.0
"""Reviews in a second."""

Lane = tuple[str, str]
"""A group's id and a host."""


@lru_cache(maxsize=8192)
def target_of(url: str) -> str:
    """The host that a URL's requests are counted under: scheme, host and port."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.lower()}"


class _Target:
    __slots__ = (
        "calm_since", "deferral", "done", "doubles_at", "lanes", "put_off", "rate", "slow", "took", "under_way", "waiting",
    )  # fmt: skip

    def __init__(self) -> None:
        self.under_way: dict[Job, float] = {}
        self.waiting = 0
        self.lanes: dict[Lane, None] = {}
        self.slow = False
        self.deferral = DEFERRAL_MIN
        self.doubles_at = 0.0
        self.put_off = 0
        """Timers put off by the present deferral."""
        self.calm_since = 0.0
        self.took = 0.0
        """Seconds that the request took which ended last."""
        self.done = 0
        self.rate = 0.0
        """Requests that ended in a second, lately, while it was watched; `done` of them since the last review."""

    @property
    def in_flight(self) -> int:
        return len(self.under_way)

    def oldest_under_way(self, now: float) -> float:
        """Seconds since the oldest request under way was let through; zero without one."""
        return now - next(iter(self.under_way.values()), now)

    @property
    def returns(self) -> float:
        """How many may come back to it in a second."""
        return max(RETURNS, 2 * self.rate)

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
        self._begun = 0
        self._overdue: dict[Job, None] = {}
        self._overdue_before: dict[Job, None] = {}
        self._stepping = False
        self._now = 0.0

    def submit(self, job: Job, now: float) -> None:
        """A job whose time has come."""
        job.target = target_of(job.timer.callback_url)
        job.ready_at = self._now = now
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
            if lane not in target.lanes and self._begun >= STARTS:
                self._lanes.move_to_end(lane, last=False)
            target.lanes[lane] = None
            target.waiting += 1
            self._waiting += 1
            self._watched[job.target] = None

    def done(self, job: Job, now: float) -> None:
        """A job that was started is over, sent or not."""
        self._now = now
        target = self._targets[job.target]
        target.took = now - target.under_way.pop(job)
        target.done += job.target in self._watched
        job.group.under_way -= 1
        self._overdue.pop(job, None)
        self._overdue_before.pop(job, None)
        self._free += 1
        self._fill(1)
        if target.idle and job.target not in self._watched:
            del self._targets[job.target]

    def review(self, now: float) -> None:
        """Fills free slots, judges who is slow and defers what waits too long; called each 100 ms."""
        self._now = now
        for lane in list(self._lanes):
            while self._advance(lane, now):
                pass
        for name in list(self._watched):
            target = self._targets[name]
            target.rate += RATE_GAIN * (target.done * REVIEWS - target.rate)
            target.done = 0
            oldest = min((self._lanes[lane][0].ready_at for lane in target.lanes), default=now)
            waits = now - oldest > SLOW_AFTER or (target.slow and target.in_flight >= self._per_target)
            target.slow = waits and max(target.oldest_under_way(now), target.took) > PROMPT
            if target.slow:
                target.calm_since = now
                self._relieve(target, now)
            elif now - target.calm_since > target.deferral:
                target.deferral, target.doubles_at, target.put_off = DEFERRAL_MIN, 0.0, 0
            if target.idle or not (target.waiting or target.slow or target.deferral > DEFERRAL_MIN):
                del self._watched[name]
                if target.idle:
                    del self._targets[name]

    def _next_pass(self) -> None:
        """Goes on with what the last pass of the event loop left."""
        self._begun = 0
        self._fill(STARTS)

    def _next_step(self) -> None:
        """Counts no longer what has been under way for a step: those targets take their time, and not this machine's."""
        self._stepping = False
        for job in self._overdue_before:
            self._overdue.pop(job, None)
        self._overdue_before = dict(self._overdue)
        self._fill(OVERDUE)

    def _fill(self, most: int) -> None:
        """Starts up to so many, in turns among the lanes."""
        missed = 0
        while most and missed < TRIES and self._lanes and self._begun < STARTS:
            if self._advance(next(iter(self._lanes)), self._now):
                most, missed = most - 1, 0
            else:
                missed += 1

    def _may_start(self, job: Job, target: _Target) -> bool:
        if self._begun >= STARTS or self._waits_for_others(job):
            return False
        room = self._free - job.group.under_way if self._holdings.crowded and job.group.under_way else self._free
        if room <= 0 or target.in_flight >= self._per_target:
            return False
        return len(self._targets) == 1 or target.in_flight < max(1, room // 2)

    def _waits_for_others(self, job: Job) -> bool:
        """Whether the job is of a backlog of which enough is under way, and there is a group that should not notice."""
        if job.timer.remaining > 0 or len(self._overdue) < OVERDUE or not self._holdings.several(self._now):
            return False
        if not self._stepping:
            self._stepping = True
            asyncio.get_running_loop().call_later(OVERDUE_FOR, self._next_step)
        return True

    def _begin(self, job: Job, target: _Target, now: float) -> None:
        self._free -= 1
        if self._holdings.several(now):
            if not self._begun:
                asyncio.get_running_loop().call_soon(self._next_pass)
            self._begun += 1
        if job.timer.remaining <= 0:
            self._overdue[job] = None
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
        return (
            target.waiting >= target.returns * WAIT_MAX
            or target.in_flight + target.waiting >= places // 2
            or self._waiting >= places // 4
        )

    def _put_off(self, target: _Target, job: Job, now: float) -> None:
        if job.dropped:
            return
        if now >= target.doubles_at or target.put_off >= target.returns * target.deferral:
            if target.doubles_at:
                target.deferral = min(DEFERRAL_MAX, target.deferral * 2)
            target.doubles_at, target.put_off = now + target.deferral, 0
        target.put_off += 1
        self._defer(job, target.deferral * self._rng.uniform(0.5, 1.5))
