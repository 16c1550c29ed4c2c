"""The counts that the status page shows: a few groups at a time, however many are looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from durable_timer.clock import Clock
from durable_timer.errors import StoreError
from durable_timer.models.page import Counts
from durable_timer_api.groups_cache import ServedGroup

AT_ONCE: Final = 2
"""Groups counted at the same time, so that the page leaves connections to others."""

A_TIME: Final = 50
"""Groups counted in one piece."""

TIMEOUT: Final = 2.0
"""Seconds that one count may take."""

FORGET_AFTER: Final = 60.0
"""Seconds after which a count is no longer shown."""


class Counting:
    """Counts those groups that somebody asked for, those first whose count is the oldest."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wanted: dict[str, ServedGroup] = {}
        self._counts: dict[str, tuple[Counts, float]] = {}

    def want(self, groups: Sequence[ServedGroup]) -> None:
        """Asks for groups to be counted in the next piece."""
        for served in groups:
            self._wanted[served.group.group_id] = served

    def last(self, group_id: str) -> Counts | None:
        """The group's last count; None when there is none lately."""
        found = self._counts.get(group_id)
        return None if found is None or found[1] < self._clock.monotonic() - FORGET_AFTER else found[0]

    async def count(self) -> None:
        """Counts up to `A_TIME` groups."""
        oldest = sorted(self._wanted.values(), key=self._counted_at)[:A_TIME]
        self._wanted = {}
        too_old = self._clock.monotonic() - FORGET_AFTER
        self._counts = {group_id: found for group_id, found in self._counts.items() if found[1] >= too_old}
        places = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            for served in oldest:
                tasks.create_task(self._count(served, places))

    def _counted_at(self, served: ServedGroup) -> float:
        found = self._counts.get(served.group.group_id)
        return float("-inf") if found is None else found[1]

    async def _count(self, served: ServedGroup, places: asyncio.Semaphore) -> None:
        group_id = served.group.group_id
        async with places:
            try:
                async with asyncio.timeout(TIMEOUT):
                    counts = await served.door.store.counts(group_id)
            except (StoreError, TimeoutError):
                return
        self._counts[group_id] = counts, self._clock.monotonic()
