"""Probes, metrics, and the contract itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from aiohttp import web

from durable_timer.clock import Clock
from durable_timer.errors import StoreError
from durable_timer.metrics import CONTENT_TYPE, Metrics
from durable_timer_api.answers import json_response
from durable_timer_api.contract import contract_text, docs_page
from durable_timer_api.groups_cache import GroupsCache, StoreDoor
from durable_timer_api.settings import BridgeSettings

Probe = Callable[[], Awaitable[str | None]]
"""A check: None when all is well, else what is wrong in a few words."""

_OK: Final = "ok"
_PROBE_TIMEOUT: Final = 1.0
"""Seconds that one check may take."""


class Service:
    """What serves operations rather than clients. Further checks come from the composition root."""

    def __init__(
        self,
        groups: GroupsCache,
        settings: BridgeSettings,
        clock: Clock,
        metrics: Metrics,
        liveness: Mapping[str, Probe],
        readiness: Mapping[str, Probe],
    ) -> None:
        self._groups = groups
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._liveness: Mapping[str, Probe] = {"groups-loop": self._loop_turns, **liveness}
        self._stores = {f"store:{door.name}": self._serving(door) for door in groups.doors}
        self._readiness = readiness

    async def livez(self, request: web.Request) -> web.Response:
        """Livez and healthz."""
        del request
        return await _checked(self._liveness)

    async def readyz(self, request: web.Request) -> web.Response:
        """Readyz: one store of several is enough, lest all groups be away with those of one that is."""
        del request
        return await _checked(self._readiness, self._stores)

    async def metrics(self, request: web.Request) -> web.Response:
        """Metrics in Prometheus' format."""
        del request
        return web.Response(body=self._metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    async def openapi(self, request: web.Request) -> web.Response:
        """api.yaml as it is."""
        del request
        return web.Response(body=contract_text(), headers={"Content-Type": "application/yaml"})

    async def docs(self, request: web.Request) -> web.Response:
        """api.yaml as a page."""
        del request
        return web.Response(
            text=docs_page(), headers={"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": _CSP}
        )

    async def _loop_turns(self) -> str | None:
        idle = self._clock.monotonic() - min(door.turned_at for door in self._groups.doors)
        if idle < self._settings.loop_stuck_after.total_seconds():
            return None
        return f"has not turned for {idle:.0f} s"

    def _serving(self, door: StoreDoor) -> Probe:
        async def probe() -> str | None:
            try:
                await door.store.ping()
            except StoreError as error:
                return str(error) or type(error).__name__
            return None if self._groups.is_fresh_at(door) else "its groups were not read lately"

        return probe


_CSP: Final = "default-src 'none'; style-src 'unsafe-inline'"


async def _checked(every: Mapping[str, Probe], one_of: Mapping[str, Probe] | None = None) -> web.Response:
    """503 unless all of `every` and, where given, one of `one_of` are well."""
    probes = {**every, **(one_of or {})}
    found = dict(zip(probes, await asyncio.gather(*map(_answer, probes.values())), strict=True))
    well = {name for name, answer in found.items() if answer == _OK}
    good = well >= every.keys() and (not one_of or not well.isdisjoint(one_of))
    return json_response({"status": _OK if good else "failing", "checks": found}, 200 if good else 503)


async def _answer(probe: Probe) -> str:
    try:
        async with asyncio.timeout(_PROBE_TIMEOUT):
            return await probe() or _OK
    except TimeoutError:
        return f"no answer within {_PROBE_TIMEOUT:g} s"
