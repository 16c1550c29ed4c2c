"""Which resources are gone for sure.

An object that the watch, or the cache, does not have may be one that an API server has not told of yet. So absence is
deletion only after a complete list of its namespace without it and a GET that answers 404, twice, 10 s apart, and only in
a namespace that this operator serves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import structlog

from durable_timer.clock import Clock
from durable_timer.errors import KubeError, StoreError
from durable_timer.models.resource import ResourceKey, ResourceKind
from durable_timer.reconcile.base import ResourceApi

APART: Final = 10.0
"""Seconds between the two looks."""

LOOK_EVERY: Final = 1.0
"""Seconds between two rounds."""

SWEEP_EVERY: Final = 60.0
"""Seconds between two searches for rows whose resource may be gone."""

AT_ONCE: Final = 16
"""Resources that are asked for at once."""

log = structlog.get_logger(__name__)


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
        self._missed: dict[ResourceKey, float | None] = {}
        self._swept_at = float("-inf")

    def suspect(self, key: ResourceKey) -> None:
        """Looks for the resource, unless its namespace is not served."""
        if self._served(key.namespace):
            self._missed.setdefault(key, None)

    def look_soon(self) -> None:
        """Asks for suspects at the next round: there are rows that were not known."""
        self._swept_at = float("-inf")

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
            self._missed = {key: missed for key, missed in self._missed.items() if self._concerned(key)}
            due = [key for key, missed in self._missed.items() if missed is None or now - missed >= APART]
            places = {(key.kind, key.namespace) for key in due}
            for kind, namespace in sorted(places):
                try:
                    await self._look(kind, namespace, [key for key in due if key[:2] == (kind, namespace)])
                except (KubeError, StoreError, TimeoutError) as error:
                    log.warning("cannot tell what is gone", kind=kind.value, namespace=namespace, error=str(error))
            await asyncio.sleep(LOOK_EVERY)

    async def _look(self, kind: ResourceKind, namespace: str, keys: list[ResourceKey]) -> None:
        there = {resource.key for resource in await self._api.list(kind, namespace)}
        for key in there.intersection(keys):
            self._missed.pop(key, None)
        missing = [key for key in keys if key not in there]
        for start in range(0, len(missing), AT_ONCE):
            await asyncio.gather(*(self._ask_for(key) for key in missing[start : start + AT_ONCE]))

    async def _ask_for(self, key: ResourceKey) -> None:
        if await self._api.get(key.kind, key.namespace, key.name) is not None:
            self._missed.pop(key, None)
        elif key in self._missed:
            await self._miss(key)

    async def _miss(self, key: ResourceKey) -> None:
        before = self._missed[key]
        if before is None:
            self._missed[key] = self._clock.monotonic()
            return
        log.info("gone", resource=str(key))
        await self._gone(key)
        self._missed.pop(key, None)
