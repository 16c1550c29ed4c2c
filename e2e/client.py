"""The client's process: runs one `Load` as it is told over HTTP (`remote.RemoteClient` tells it).

Usage: python -m e2e.client HOST PORT

`POST /begin` with `Order` as JSON, `POST /run`, `POST /stop` answers `Report`, `POST /end`; then it may begin anew.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import uvloop
from aiohttp import web

from faults.ledger import Ledger
from faults.load import Load, Targets


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to ask for, of whom. Rates and times as `Load` has them."""

    bridges: list[str]
    quick: str
    slow: str
    scale: float
    slow_rate: float
    lasts: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The ledger as JSON has it, and how many requests had to be repeated, by why."""

    entries: list[Any]
    wrong: list[str]
    unanswered: Mapping[str, int]


class Served:
    """One load at a time."""

    def __init__(self) -> None:
        self._ledger: Ledger
        self._load: Load
        self._running: asyncio.Task[None]

    async def begin(self, request: web.Request) -> web.Response:
        order = Order(**orjson.loads(await request.read()))
        self._ledger = Ledger()
        targets = Targets(order.quick, order.slow)
        self._load = Load(order.bridges, targets, self._ledger, scale=order.scale, slow=order.slow_rate)
        await self._load.begin(order.lasts)
        return web.Response()

    async def run(self, _: web.Request) -> web.Response:
        self._running = asyncio.create_task(self._load.run())
        return web.Response()

    async def stop(self, _: web.Request) -> web.Response:
        self._load.stop()
        await self._running
        ledger = self._ledger
        report = Report(entries=[*ledger.entries.values()], wrong=ledger.wrong, unanswered=self._load.unanswered)
        return web.Response(body=orjson.dumps(report), content_type="application/json")

    async def end(self, _: web.Request) -> web.Response:
        await self._load.end()
        return web.Response()


async def _serve(host: str, port: int) -> None:
    served = Served()
    app = web.Application()
    for name in ("begin", "run", "stop", "end"):
        app.router.add_post(f"/{name}", getattr(served, name))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1], int(sys.argv[2])))
