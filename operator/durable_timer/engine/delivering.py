"""From a job to its outcome: holds it until it is due, lets it through its target's places, sends it."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from heapq import heappop, heappush
from math import ceil
from typing import Final

import structlog

from durable_timer.clock import Clock
from durable_timer.engine.callbacks import callback_request
from durable_timer.engine.delivery import Deliverer, Secrets, Tracer
from durable_timer.engine.groups import GroupRuntime
from durable_timer.engine.holdings import Holdings, Job
from durable_timer.engine.membership import Membership
from durable_timer.engine.outcomes import attempt_outcome, deadline_outcome
from durable_timer.engine.settings import EngineSettings
from durable_timer.engine.settling import INTERNAL_ERROR, Settler, deferred
from durable_timer.engine.targets import Targets
from durable_timer.metrics import Metrics
from durable_timer.models.outcome import Outcome
from durable_timer.models.timer import Schedule, SecretRef
from durable_timer.planning.answers import Answer, NoAnswer, Retry, SendError, classify, clip
from durable_timer.planning.schedule import next_occurrence

REVIEW_EVERY: Final = 0.1
"""Seconds between two looks at waiting targets, and at how many requests are under way."""

SECRET_RETRY: Final = timedelta(seconds=5)
"""Deferral of a timer whose own Secret cannot be read."""

UNAVAILABLE: Final = "SECRET_UNAVAILABLE"
"""`lastError` of such a timer."""

UNREADABLE_RETRY: Final = timedelta(seconds=60)
"""Deferral of a timer that this release cannot deal with: another executor may, or the next release."""

UNREADABLE_ROW: Final = "UNREADABLE_ROW"
"""Begins the `lastError` of such a timer."""

EXHAUSTED_RETRY: Final = timedelta(seconds=1)
"""Deferral of a timer that this machine has no room to send, before its jitter of ±50 %."""

COMPLAIN_EVERY: Final = 5.0
"""Seconds between two lines about that."""

log = structlog.get_logger(__name__)


class Delivering:
    """Delivery slots: as many tasks as there were ever requests under way at once, up to `slots`; none per timer."""

    def __init__(
        self,
        clock: Clock,
        rng: random.Random,
        settings: EngineSettings,
        membership: Membership,
        steady: Callable[[], bool],
        holdings: Holdings,
        deliverer: Deliverer,
        secrets: Secrets,
        settler: Settler,
        tracer: Tracer,
        metrics: Metrics,
    ) -> None:
        self._clock = clock
        self._rng = rng
        self._settings = settings
        self._membership = membership
        self._steady = steady
        self._deliverer = deliverer
        self._secrets = secrets
        self._settler = settler
        self._tracer = tracer
        self._metrics = metrics
        self._targets = Targets(settings.slots, settings.slots_per_target, holdings, rng, self._start, self._put_off)
        self._later: list[tuple[float, int, Job]] = []
        self._sequence = 0
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = float("inf")
        self._ready: deque[Job] = deque()
        self._idle: deque[asyncio.Future[Job]] = deque()
        self._workers = 0
        self._freeing = False
        self._group: asyncio.TaskGroup | None = None
        self._active: dict[str, GroupRuntime] = {}
        self._complained_at = float("-inf")
        self.turned_at = clock.monotonic()

    def accept(self, job: Job, store_now: datetime) -> None:
        """Takes a job over: it is sent when it is due, or settled unsent when its starting deadline has passed."""
        if (fault := job.timer.fault or _schedule_fault(job.timer.schedule, store_now)) is not None:
            log.error(
                "a timer cannot be read by this release", group=job.key.group_id, timer=job.timer.timer_id, fault=fault
            )
            self._defer(job, UNREADABLE_RETRY, "unreadable", clip(f"{UNREADABLE_ROW}: {fault}"))
        elif job.timer.deadline_exceeded:
            self._metrics.too_late(job.key.group_id, "failed" if job.timer.schedule is None else "missed")
            self._settler.defer(job, deadline_outcome(job.timer, job.group, store_now))
        elif job.timer.remaining > 0:
            self._sequence += 1
            heappush(self._later, (job.send_at, self._sequence, job))
            if job.send_at < self._alarm_at:
                self._set_alarm(job.send_at)
        else:
            self._targets.submit(job, self._clock.monotonic())

    async def run(self) -> None:
        """Runs the slots and reviews the targets until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            early, self._ready = self._ready, deque()
            for job in early:
                self._start(job)
            try:
                await self._review()
            finally:
                self._group = None
                if self._alarm is not None:
                    self._alarm.cancel()

    async def _review(self) -> None:
        while True:
            self.turned_at = now = self._clock.monotonic()
            self._targets.review(now)
            self._release_due()
            self._count()
            await asyncio.sleep(REVIEW_EVERY)

    def _set_alarm(self, at: float) -> None:
        """Wakes at `at`, rounded up to a millisecond: event loops round to the nearest one."""
        if self._alarm is not None:
            self._alarm.cancel()
        delay = max(0.0, at - self._clock.monotonic())
        self._alarm_at = at
        self._alarm = asyncio.get_running_loop().call_later(ceil(delay * 1000) / 1000, self._release_due)

    def _release_due(self) -> None:
        now = self._clock.monotonic()
        while self._later and self._later[0][0] <= now:
            job = heappop(self._later)[2]
            if not job.dropped:
                self._targets.submit(job, now)
        if self._later:
            self._set_alarm(self._later[0][0])
        else:
            self._alarm_at = float("inf")

    def _start(self, job: Job) -> None:
        if self._freeing:
            self._freeing = False
            self._ready.append(job)
            return
        while self._idle:
            waiter = self._idle.popleft()
            if not waiter.done():
                waiter.set_result(job)
                return
        if self._group is not None and self._workers < self._settings.slots:
            self._workers += 1
            self._group.create_task(self._work(job))
        else:
            self._ready.append(job)

    async def _work(self, job: Job) -> None:
        while True:
            try:
                await self._deliver(job)
            except Exception:  # one timer must not end the delivery of the others
                log.exception("a timer could not be dealt with", group=job.key.group_id, timer=job.timer.timer_id)
                self._defer(job, UNREADABLE_RETRY, "fault", INTERNAL_ERROR)
            self._freeing = True
            self._targets.done(job, self._clock.monotonic())
            self._freeing = False
            job = self._ready.popleft() if self._ready else await self._next()

    async def _next(self) -> Job:
        waiter: asyncio.Future[Job] = asyncio.get_running_loop().create_future()
        self._idle.append(waiter)
        return await waiter

    async def _deliver(self, job: Job) -> None:
        own = self._plain_headers(job) if job.timer.headers else []
        if own is None:
            own = await self._secret_headers(job)
        if not self._steady():
            await self._trusted_again(job)
        if job.dropped:
            return
        if not job.group.fires:
            self._settler.defer(job, deferred(job))
            return
        if own is None:
            self._defer(job, SECRET_RETRY, "secret", UNAVAILABLE)
            return
        job.begun = True
        timer, sent = job.timer, self._clock.monotonic()
        self._active[timer.group_id] = job.group
        span = self._tracer.callback(timer.traceparent, timer.group_id, timer.timer_id)
        answer: Answer | NoAnswer | Retry
        try:
            request = callback_request(timer, job.group, own, span.traceparent, self._clock.now())
            answer = await self._deliverer.send(request)
        except Exception:  # a fault in one delivery must not end the others; the attempt counts
            log.exception("a delivery failed in this program", group=timer.group_id, timer=timer.timer_id)
            answer = Retry(INTERNAL_ERROR)
        if isinstance(answer, NoAnswer) and answer.error is SendError.NO_RESOURCES:
            span.end(answer.detail)
            self._exhausted(job, answer.detail)
            return
        outcome = self._outcome(job, answer, sent, self._clock.monotonic())
        span.end(outcome.last_error)
        self._settler.put(job, outcome)

    async def _trusted_again(self, job: Job) -> None:
        """Holds the job while the process is not trusted or knows too little, or until it is dropped."""
        while not job.dropped and not self._steady():
            await self._membership.decided()

    def _outcome(self, job: Job, answer: Answer | NoAnswer | Retry, sent: float, ended: float) -> Outcome:
        timer, group = job.timer, job.group
        now = timer.due_at + timedelta(seconds=ended - job.send_at)
        verdict = answer if isinstance(answer, Retry) else classify(answer, now)
        status = answer.status if isinstance(answer, Answer) else None
        took = ended - sent
        age = took if timer.first_attempt_age is None else timer.first_attempt_age + (ended - job.received_at)
        outcome = attempt_outcome(timer, group, verdict, status, now=now, began=took, age=age, rng=self._rng)
        lateness = None if job.held or job.send_at < group.held_until else max(0.0, sent - job.send_at)
        if lateness is not None:
            group.lateness.add(ended, lateness)
        self._metrics.delivered(timer.group_id, outcome.kind, lateness, took)
        return outcome

    def _plain_headers(self, job: Job) -> list[tuple[str, str]] | None:
        """The timer's own headers; None where one refers to a Secret."""
        headers = [(h.name, h.value) for h in job.timer.headers if isinstance(h.value, str)]
        return headers if len(headers) == len(job.timer.headers) else None

    async def _secret_headers(self, job: Job) -> list[tuple[str, str]] | None:
        headers: list[tuple[str, str]] = []
        for header in job.timer.headers:
            value = header.value
            if isinstance(value, SecretRef):
                namespace = value.namespace if value.namespace is not None else job.group.namespace
                secret = await self._secrets.read(namespace, value.name, value.key)
                if secret is None:
                    return None
                value = secret.decode("utf-8", "replace").strip()
            headers.append((header.name, value))
        return headers

    def _exhausted(self, job: Job, detail: str) -> None:
        now = self._clock.monotonic()
        if now - self._complained_at > COMPLAIN_EVERY:
            self._complained_at = now
            log.error("callbacks wait: this machine has no room for connections", error=detail)
        self._defer(job, EXHAUSTED_RETRY * self._rng.uniform(0.5, 1.5), "resources", None)

    def _put_off(self, job: Job, seconds: float) -> None:
        self._defer(job, timedelta(seconds=seconds), "target", None)

    def _defer(self, job: Job, delay: timedelta, reason: str, error: str | None) -> None:
        self._metrics.deferred(job.timer.group_id, reason, 1)
        self._settler.defer(job, deferred(job, delay, error))

    def _count(self) -> None:
        for group_id, group in list(self._active.items()):
            self._metrics.in_flight(group_id, group.under_way)
            if not group.under_way:
                del self._active[group_id]


def _schedule_fault(schedule: Schedule | None, now: datetime) -> str | None:
    """Why the schedule cannot be gone on with after this run: a zone that this process's database lacks, say."""
    if schedule is None:
        return None
    try:
        next_occurrence(schedule, now)
    except (ValueError, KeyError, OSError) as error:
        return f"{type(error).__name__}: {error}"
    return None
