"""Who may be sent next: delivery slots divided so that no target host and no group can take all of them.

Jobs wait in lanes, one for each group and host. A host has at most `slots_per_target` requests under way, and, while
others have some too, at most half as many as there is room; a group, where several are served, at most as many as there
are slots free, which is the room of its hosts then. These bounds move with what is free (dynamic thresholds, Choudhury
and Hahne 1998), so whoever hangs, and however many they are, some slots stay free for the rest. What waits too long for
a slow host is deferred, so that as many come back in a second as the host is likely to take then (`hosts`). Where several
groups are served, requests begin in small steps (`pacing`).
"""

from __future__ import annotations

import random
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from durable_timer.engine.holdings import Holdings, Job
from durable_timer.engine.hosts import Host, Lane, host_of
from durable_timer.engine.pacing import Pace

WAIT_MAX: Final = 1.0
"""Seconds after which a waiting timer of a slow host is deferred."""

TRIES: Final = 4
"""Lanes in a row that are looked at in vain when a slot becomes free; the next pass, or review, looks at all."""


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
        self._per_host = slots_per_target
        self._holdings = holdings
        self._rng = rng
        self._start = start
        self._defer = defer
        self._hosts: dict[str, Host] = {}
        self._lanes: OrderedDict[Lane, deque[Job]] = OrderedDict()
        self._watched: dict[str, None] = {}
        self._pace = Pace(holdings.several, lambda most: self._fill(most, len(self._lanes)))
        self._now = 0.0
        """The second of the last call: `_pace` goes on between two of them."""

    def submit(self, job: Job, now: float) -> None:
        """A job whose time has come."""
        job.target = host_of(job.timer.callback_url)
        job.ready_at = self._now = now
        host = self._hosts.get(job.target)
        if host is None:
            host = self._hosts[job.target] = Host()
        lane = job.key.group_id, job.target
        if lane not in self._lanes and self._may_start(job, host):
            self._begin(job, host)
        elif host.slow and self._full(host, alone=lane not in self._lanes):
            self._put_off(host, job)
        else:
            self._lanes.setdefault(lane, deque()).append(job)
            if lane not in host.lanes and self._pace.full and not job.group.under_way:
                self._lanes.move_to_end(lane, last=False)
            host.lanes[lane] = None
            host.waiting += 1
            self._waiting += 1
            self._watched[job.target] = None

    def done(self, job: Job, now: float) -> None:
        """A job that was started is over, sent or not."""
        self._now = now
        host = self._hosts[job.target]
        host.ended(job, now, job.target in self._watched)
        job.group.under_way -= 1
        self._pace.ended(job)
        self._free += 1
        self._fill(1, TRIES)
        if host.idle and job.target not in self._watched:
            del self._hosts[job.target]

    def review(self, now: float) -> None:
        """Fills free slots, judges who is slow and defers what waits too long; called each 100 ms."""
        self._now = now
        for lane in list(self._lanes):
            while self._advance(lane):
                pass
        for name in list(self._watched):
            host = self._hosts[name]
            heads = [self._lanes[lane][0] for lane in host.lanes]
            oldest = min((head.ready_at for head in heads), default=now)
            host.judge(now, oldest, self._per_host, full=any(not self._has_slot(head, host) for head in heads))
            if host.slow:
                self._relieve(host)
            if host.calm:
                del self._watched[name]
                if host.idle:
                    del self._hosts[name]

    def _fill(self, most: int, tries: int) -> None:
        """Starts up to so many, in turns among the lanes, until as many in a row were looked at in vain."""
        missed = 0
        while most and missed < tries and self._lanes and not self._pace.full:
            if self._advance(next(iter(self._lanes))):
                most, missed = most - 1, 0
            else:
                missed += 1

    def _may_start(self, job: Job, host: Host) -> bool:
        return self._has_slot(job, host) and self._pace.allows(job, self._now)

    def _has_slot(self, job: Job, host: Host) -> bool:
        """Whether there is a slot that its group and its host may have."""
        room = self._free - job.group.under_way if self._holdings.crowded and job.group.under_way else self._free
        if room <= 0 or host.in_flight >= self._per_host:
            return False
        return len(self._hosts) == 1 or host.in_flight < max(1, room // 2)

    def _begin(self, job: Job, host: Host) -> None:
        self._free -= 1
        self._pace.begins(job, self._now)
        host.under_way[job] = self._now
        job.group.under_way += 1
        job.held = host.slow
        self._start(job)

    def _advance(self, lane: Lane) -> bool:
        """Starts the first job of a lane where it may; whether it did. The lane goes to the end of the round."""
        jobs = self._lanes[lane]
        self._lanes.move_to_end(lane)
        host = self._hosts[lane[1]]
        while jobs and jobs[0].dropped:
            jobs.popleft()
            self._left(host)
        started = bool(jobs) and self._may_start(jobs[0], host)
        if started:
            self._left(host)
            self._begin(jobs.popleft(), host)
        if not jobs:
            self._close(lane, host)
            return False
        return started

    def _left(self, host: Host) -> None:
        host.waiting -= 1
        self._waiting -= 1

    def _close(self, lane: Lane, host: Host) -> None:
        del self._lanes[lane]
        del host.lanes[lane]

    def _relieve(self, host: Host) -> None:
        for lane in list(host.lanes):
            jobs = self._lanes[lane]
            while jobs and self._now - jobs[0].ready_at > WAIT_MAX:
                self._left(host)
                self._put_off(host, jobs.popleft())
            while jobs and self._full(host, alone=len(jobs) == 1):
                self._left(host)
                self._put_off(host, jobs.pop())
            if not jobs:
                self._close(lane, host)

    def _full(self, host: Host, *, alone: bool) -> bool:
        """Whether a slow host, or all that wait, hold what they may of the places; one of each group may wait beside."""
        places = self._holdings.places
        if alone and self._waiting < places // 2:
            return False
        return (
            host.waiting >= host.returns * WAIT_MAX
            or host.in_flight + host.waiting >= places // 2
            or self._waiting >= places // 4
        )

    def _put_off(self, host: Host, job: Job) -> None:
        if not job.dropped:
            self._defer(job, host.deferral(self._now) * self._rng.uniform(0.5, 1.5))
