"""The comparison of all Timers with their rows: rows lost or changed by hand, and statuses that lag behind."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final, Protocol

import structlog

from durable_timer.clock import Clock
from durable_timer.errors import StoreUnavailable
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

FAILURES_MAX: Final = 1000
"""Failed reads after which a pass looks no further for the rows that make them fail."""

_TURN: Final = 50
"""Timers that are compared in one turn of the loop."""

log = structlog.get_logger(__name__)


class TimersSource(Protocol):
    """What knows all resources (`reconcile.cache.ResourceCache`)."""

    def of_kind(self, kind: ResourceKind) -> tuple[Resource, ...]: ...


@dataclass(slots=True)
class _Unread:
    """The Timers of one pass whose rows could not be read, each by itself, or in what was left of a page at the end."""

    timers: int = 0
    failures: int = 0
    error: Exception | None = None

    def note(self, page: Sequence[Resource], error: Exception) -> bool:
        """Takes in a read that failed; whether it is worth trying again with the halves of it."""
        self.failures += 1
        self.error = self.error or error
        if len(page) > 1 and self.failures < FAILURES_MAX:
            return True
        self.timers += len(page)
        return False

    def tell(self) -> None:
        if self.timers:
            log.error("rows of timers cannot be read, and are not compared", timers=self.timers, first=repr(self.error))


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
        """Makes one pass; how many Timers are to be reconciled. A group whose store is away is left to the next one.

        So are the Timers whose rows this release cannot read: nothing is known of them, and a reconcile would fail.
        """
        found = 0
        unread = _Unread()
        for group, resources in self._by_group():
            if self._timers.store_away(group) is not None:
                continue
            try:
                for page in _pages(resources):
                    found += await self._compare_page(group, page, unread)
                    await asyncio.sleep(self._pause * len(page) / PAGE)
            except (StoreUnavailable, TimeoutError) as error:
                log.info("cannot compare the timers of a group now", group=group.group.group_id, error=str(error))
            except Exception:
                log.exception("a comparison failed by a fault of the program", group=group.group.group_id)
        unread.tell()
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

    async def _compare_page(self, group: RegisteredGroup, page: Sequence[Resource], unread: _Unread) -> int:
        rows = await _rows(group, page, unread)
        now = await self._timers.now(group)
        found = 0
        for number, (resource, row) in enumerate(rows, 1):
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


async def _rows(
    group: RegisteredGroup, page: Sequence[Resource], unread: _Unread
) -> list[tuple[Resource, Timer | None]]:
    """The Timers of a page whose rows can be read, with their rows; the others are found by halving, and noted.

    Raises: StoreUnavailable.
    """
    ids = [timer_id_of(resource.namespace, resource.name) for resource in page]
    try:
        return list(zip(page, await group.store.get(group.group.group_id, ids), strict=True))
    except (StoreUnavailable, TimeoutError):
        raise
    except Exception as error:  # noqa: BLE001 - told of at the end of the pass
        if not unread.note(page, error):
            return []
    half = len(page) // 2
    return [*await _rows(group, page[:half], unread), *await _rows(group, page[half:], unread)]


def _pages(resources: list[Resource]) -> Iterator[list[Resource]]:
    ordered = iter(sorted(resources, key=lambda resource: resource.key))
    while page := list(islice(ordered, PAGE)):
        yield page
