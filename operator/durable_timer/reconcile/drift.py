"""The comparison of all Timers with their rows: rows lost or changed by hand, and statuses that lag behind."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Final, Protocol

import structlog

from durable_timer.clock import Clock
from durable_timer.errors import StoreError
from durable_timer.models.resource import Resource, ResourceKey, ResourceKind
from durable_timer.models.timer import Timer
from durable_timer.planning.declared import timer_id_of
from durable_timer.reconcile.base import RegisteredGroup
from durable_timer.reconcile.timers import TimerReconciler

PAGE: Final = 500
"""Ids of one read."""

PASS_EVERY: Final = 60.0
"""Seconds from the beginning of a pass over all Timers to that of the next."""

PAGE_PAUSE: Final = 0.5
"""Seconds after a full page, and less after a shorter one, so that ten thousand Timers are a trickle and no wave."""

_TURN: Final = 50
"""Timers that are compared in one turn of the loop."""

log = structlog.get_logger(__name__)


class TimersSource(Protocol):
    """What knows all resources (`reconcile.cache.ResourceCache`)."""

    def of_kind(self, kind: ResourceKind) -> tuple[Resource, ...]: ...


class Drift:
    """Compares, and has reconciled what differs; writes nothing itself."""

    def __init__(
        self,
        resources: TimersSource,
        timers: TimerReconciler,
        reconcile: Callable[[ResourceKey], None],
        clock: Clock,
        *,
        every: float = PASS_EVERY,
        pause: float = PAGE_PAUSE,
    ) -> None:
        self._resources = resources
        self._timers = timers
        self._reconcile = reconcile
        self._clock = clock
        self._every = every
        self._pause = pause

    async def run(self) -> None:
        """Makes one pass after the other, until cancelled."""
        while True:
            began = self._clock.monotonic()
            await self.compare()
            await asyncio.sleep(max(self._pause, began + self._every - self._clock.monotonic()))

    async def compare(self) -> int:
        """Makes one pass; how many Timers are to be reconciled. A group whose store is away is left to the next one."""
        found = 0
        for group, resources in self._by_group():
            if self._timers.store_away(group) is not None:
                continue
            try:
                for page in _pages(resources):
                    found += await self._compare_page(group, page)
                    await asyncio.sleep(self._pause * len(page) / PAGE)
            except StoreError as error:
                log.info("cannot compare the timers of a group now", group=group.group.group_id, error=str(error))
        return found

    def _by_group(self) -> list[tuple[RegisteredGroup, list[Resource]]]:
        """All Timers whose group is registered; those that wait for one are queued when it comes."""
        groups: dict[tuple[str, str], RegisteredGroup] = {}
        members: defaultdict[tuple[str, str], list[Resource]] = defaultdict(list)
        for resource in self._resources.of_kind(ResourceKind.TIMER):
            group = self._timers.group_of(resource)
            if group is not None:
                place = group.store_name, group.group.group_id
                groups[place] = group
                members[place].append(resource)
        return [(group, members[place]) for place, group in groups.items()]

    async def _compare_page(self, group: RegisteredGroup, page: Sequence[Resource]) -> int:
        ids = [timer_id_of(resource.namespace, resource.name) for resource in page]
        rows = await group.store.get(group.group.group_id, ids)
        now = await self._timers.now(group)
        found = 0
        for number, (resource, row) in enumerate(zip(page, rows, strict=True), 1):
            if not self._is_at_rest(resource, group, row, now):
                found += 1
                self._reconcile(resource.key)
            if number % _TURN == 0:
                await asyncio.sleep(0)
        return found

    def _is_at_rest(self, resource: Resource, group: RegisteredGroup, row: Timer | None, now: datetime) -> bool:
        """One Timer that cannot be judged is the queue's to complain of, and ends no comparison of the others."""
        try:
            return self._timers.is_at_rest(resource, group, row, now)
        except Exception:
            log.exception("a comparison failed by a fault of the program", resource=str(resource.key))
            return False


def _pages(resources: list[Resource]) -> Iterator[list[Resource]]:
    ordered = iter(sorted(resources, key=lambda resource: resource.key))
    while page := list(islice(ordered, PAGE)):
        yield page
