"""Which resources are gone for sure.

An object that the watch, or the cache, does not have may be one that an API server has not told of yet. So absence is
deletion only after a complete list of its namespace without it and a GET that answers 404, twice, 10 s apart, and only in
a namespace that this operator serves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

import structlog

from durable_timer.clock import Clock
from durable_timer.errors import KubeError, StoreError
from durable_timer.models.resource import ResourceKey, ResourceKind
from durable_timer.reconcile.base import ResourceApi

APART: Final = 10.0
"""Seconds between the two looks."""

APART_MAX: Final = 60.0
"""Longest pause before what failed is tried again; each failure of a resource doubles it, from the above."""

LOOK_EVERY: Final = 1.0
"""Seconds between two rounds."""

SWEEP_EVERY: Final = 60.0
"""Seconds between two searches for rows whose resource may be gone."""

AT_ONCE: Final = 16
"""Resources that are asked for at once."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Suspect:
    """One resource that may be gone: when it was missed first, and how long to wait with it after a failure."""

    missed_at: float | None = None
    put_off_to: float = float("-inf")
    pause: float = APART

    def due(self, now: float) -> bool:
        return now >= self.put_off_to and (self.missed_at is None or now - self.missed_at >= APART)


class Absence:
    """Looks for what is suspected to be gone, and of concern. `gone` is told of each that is, until it does not raise."""

    def __init__(
        self,
        api: ResourceApi,
        served: Callable[[str], bool],
        suspects: Callable[[], Iterable[ResourceKey]],
        concerned: Callable[[ResourceKey], bool],
        gone: Callable[[ResourceKey], Awaitable[None]],
        clock: Clock,
    ) -> None:
        self._api = api
        self._served = served
        self._suspects = suspects
        self._concerned = concerned
        self._gone = gone
        self._clock = clock
        self._missed: dict[ResourceKey, _Suspect] = {}
        self._swept_at = float("-inf")

    def suspect(self, key: ResourceKey) -> None:
        """Looks for the resource, unless its namespace is not served."""
        if self._served(key.namespace):
            self._missed.setdefault(key, _Suspect())

    def look_soon(self) -> None:
        """Asks for suspects at the next round: there are rows that were not known."""
        self._swept_at = float("-inf")

    def try_again(self) -> None:
        """Does not wait any longer with what failed: a store that was away is there."""
        for suspect in self._missed.values():
            suspect.put_off_to, suspect.pause = float("-inf"), APART

    def seen(self, key: ResourceKey) -> None:
        """The resource is there: whatever was missed of it counts no more."""
        self._missed.pop(key, None)

    async def run(self) -> None:
        """Looks until cancelled."""
        while True:
            now = self._clock.monotonic()
            if now - self._swept_at >= SWEEP_EVERY:
                self._swept_at = now
                for key in self._suspects():
                    self.suspect(key)
            self._missed = {key: suspect for key, suspect in self._missed.items() if self._concerned(key)}
            due = [key for key, suspect in self._missed.items() if suspect.due(now)]
            places = {(key.kind, key.namespace) for key in due}
            for kind, namespace in sorted(places):
                await self._look(kind, namespace, [key for key in due if key[:2] == (kind, namespace)])
            await asyncio.sleep(LOOK_EVERY)

    async def _look(self, kind: ResourceKind, namespace: str, keys: list[ResourceKey]) -> None:
        try:
            there = {resource.key for resource in await self._api.list(kind, namespace)}
        except (KubeError, TimeoutError) as error:
            log.warning("cannot tell what is gone", kind=kind.value, namespace=namespace, error=str(error) or "timeout")
            for key in keys:
                self._put_off(key)
            return
        for key in there.intersection(keys):
            self._missed.pop(key, None)
        missing = [key for key in keys if key not in there]
        for start in range(0, len(missing), AT_ONCE):
            await asyncio.gather(*(self._ask_for(key) for key in missing[start : start + AT_ONCE]))

    async def _ask_for(self, key: ResourceKey) -> None:
        """One that fails, be it by a fault of the program, is tried again later, and holds no other up."""
        try:
            if await self._api.get(key.kind, key.namespace, key.name) is not None:
                self._missed.pop(key, None)
            elif key in self._missed:
                await self._miss(key, self._missed[key])
        except (KubeError, StoreError, TimeoutError) as error:
            log.warning("cannot let go of what is gone", resource=str(key), error=str(error) or "timeout")
            self._put_off(key)
        except Exception:
            log.exception("letting go failed by a fault of the program", resource=str(key))
            self._put_off(key)

    async def _miss(self, key: ResourceKey, suspect: _Suspect) -> None:
        if suspect.missed_at is None:
            suspect.missed_at = self._clock.monotonic()
            return
        await self._gone(key)
        log.info("gone", resource=str(key))
        self._missed.pop(key, None)

    def _put_off(self, key: ResourceKey) -> None:
        if (suspect := self._missed.get(key)) is not None:
            suspect.put_off_to = self._clock.monotonic() + suspect.pause
            suspect.pause = min(2 * suspect.pause, APART_MAX)
