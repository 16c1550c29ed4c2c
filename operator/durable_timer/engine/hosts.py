"""What is known of a target host: what it has under way, whether it is slow, when what it cannot take comes back."""

from __future__ import annotations

from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from durable_timer.engine.holdings import Job

SLOW_AFTER: Final = 0.2
"""Seconds that a timer may wait for a slot before its host counts as slow, if it is the host that takes its time."""

PROMPT: Final = 0.1
"""A host whose requests under way are all younger than this many seconds is not slow, whoever waits: we are."""

DEFERRAL_MIN: Final = 1.0
"""Seconds of the first deferral; doubles while the host stays slow, and with as many as may come back in that time."""

DEFERRAL_MAX: Final = 60.0
"""Longest deferral in seconds, before its jitter of ±50 %."""

RETURNS: Final = 200.0
"""Timers put off for a slow host that come back in a second, at least: else twice as many as it took lately."""

RATE_GAIN: Final = 0.1
"""Weight of the last review's span in the rate at which a host takes requests: it looks back about a second."""

REVIEWS: Final = 10.0
"""Reviews in a second."""

Lane = tuple[str, str]
"""A group's id and a host."""


@lru_cache(maxsize=8192)
def host_of(url: str) -> str:
    """The host that a URL's requests are counted under: scheme, host and port."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.lower()}"


class Host:
    """One host. Times are monotonic seconds; `waiting` counts the jobs in its `lanes`."""

    __slots__ = (
        "_calm_since", "_deferral", "_done", "_doubles_at", "_put_off", "_rate", "_took", "lanes", "slow", "under_way", "waiting",
    )  # fmt: skip

    def __init__(self) -> None:
        self.under_way: dict[Job, float] = {}
        self.waiting = 0
        self.lanes: dict[Lane, None] = {}
        self.slow = False
        self._deferral = DEFERRAL_MIN
        self._doubles_at = 0.0
        self._put_off = 0
        self._calm_since = 0.0
        self._took = 0.0
        self._done = 0
        self._rate = 0.0

    @property
    def in_flight(self) -> int:
        return len(self.under_way)

    @property
    def returns(self) -> float:
        """How many that were put off may come back to it in a second."""
        return max(RETURNS, 2 * self._rate)

    @property
    def idle(self) -> bool:
        """Whether nothing is known of it that a new record would not say."""
        return not (self.in_flight or self.waiting or self.slow) and self._deferral == DEFERRAL_MIN

    @property
    def calm(self) -> bool:
        """Whether it needs no review."""
        return not (self.waiting or self.slow) and self._deferral == DEFERRAL_MIN

    def ended(self, job: Job, now: float, watched: bool) -> None:
        """A request is over. Only while the host is watched does that count for its rate."""
        self._took = now - self.under_way.pop(job)
        self._done += watched

    def judge(self, now: float, waiting_since: float, per_host: int, *, full: bool) -> None:
        """Says whether it is slow, given since when the oldest job waits; called once a review.

        It becomes slow only when its slots are what is missing (`full`), and not when jobs wait for others' sake.
        """
        self._rate += RATE_GAIN * (self._done * REVIEWS - self._rate)
        self._done = 0
        waits = now - waiting_since > SLOW_AFTER or (self.slow and self.in_flight >= per_host)
        oldest = now - next(iter(self.under_way.values()), now)
        self.slow = waits and (full or self.slow) and max(oldest, self._took) > PROMPT
        if self.slow:
            self._calm_since = now
        elif now - self._calm_since > self._deferral:
            self._deferral, self._doubles_at, self._put_off = DEFERRAL_MIN, 0.0, 0

    def deferral(self, now: float) -> float:
        """Seconds for which one more job is put off: longer while the host stays slow, and the more there are."""
        if now >= self._doubles_at or self._put_off >= self.returns * self._deferral:
            if self._doubles_at:
                self._deferral = min(DEFERRAL_MAX, self._deferral * 2)
            self._doubles_at, self._put_off = now + self._deferral, 0
        self._put_off += 1
        return self._deferral
