"""Small tools for loops that wait: an event with a time limit, and a back-off."""

from __future__ import annotations

import asyncio
import random
from typing import Final

UNREACHABLE_MIN: Final = 0.1
"""Seconds before the first retry of a store call that failed."""

UNREACHABLE_MAX: Final = 1.0
"""Longest pause between retries: what comes back is noticed within it."""

SHARE: Final = 0.02
"""Of the time, what the repeated work of one loop may take in the store."""

REST_MAX: Final = 15.0
"""Longest seconds of rest because work took long."""


async def wait_event(event: asyncio.Event, timeout: float) -> bool:
    """Waits until the event is set, at most `timeout` seconds; whether it is."""
    if event.is_set():
        return True
    try:
        async with asyncio.timeout(timeout):
            await event.wait()
    except TimeoutError:
        return False
    return True


def rest_after(took: float, least: float) -> float:
    """Seconds to wait after work that took so long, before it is done again: `least`, or more to keep to its share."""
    return max(least, min(took / SHARE, REST_MAX))


class Backoff:
    """Pauses between retries: doubling, jittered between half and the whole, until something succeeds."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._next = UNREACHABLE_MIN

    def pause(self) -> float:
        """Seconds to wait after one more failure."""
        pause = self._next * self._rng.uniform(0.5, 1.0)
        self._next = min(UNREACHABLE_MAX, self._next * 2)
        return pause

    def reset(self) -> None:
        self._next = UNREACHABLE_MIN
