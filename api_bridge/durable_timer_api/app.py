"""The bridge put together: stores in, an aiohttp application or a listening server out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from aiohttp import web

from durable_timer.clock import Clock, SystemClock
from durable_timer.metrics import Metrics
from durable_timer.stores.base import Store
from durable_timer_api.bodies import Bodies
from durable_timer_api.groups_cache import GroupsCache
from durable_timer_api.handlers.changing import Changing
from durable_timer_api.handlers.creating import Creating
from durable_timer_api.handlers.groups import Groups
from durable_timer_api.handlers.listing import Listing
from durable_timer_api.handlers.selecting import Selecting
from durable_timer_api.handlers.service import Probe, Service
from durable_timer_api.handlers.ui import Ui
from durable_timer_api.middleware import build_middleware
from durable_timer_api.routes import Handlers, operations
from durable_timer_api.server import Around, ProblemRunner
from durable_timer_api.settings import BridgeSettings
from durable_timer_api.tls import tls_context
from durable_timer_api.ui.status import Status

AROUND: Final[web.AppKey[Around]] = web.AppKey("around")
"""What every request passes."""


def build_app(
    stores: Mapping[str, Store],
    metrics: Metrics,
    settings: BridgeSettings | None = None,
    *,
    clock: Clock | None = None,
    liveness: Mapping[str, Probe] | None = None,
    readiness: Mapping[str, Probe] | None = None,
) -> web.Application:
    """The REST API over stores that are open already; it does not close them.

    It is to be served with bodies as received (`serve` does so), since it gunzips them itself, within its limits.
    """
    settings = settings or BridgeSettings()
    clock = clock or SystemClock()
    groups = GroupsCache(stores, settings, clock, metrics)
    service = Service(groups, settings, clock, metrics, liveness or {}, readiness or {})
    bodies = Bodies()
    status = Status(groups, clock)
    handlers = Handlers(
        Creating(groups, bodies, metrics),
        Changing(groups, bodies),
        Listing(groups),
        Selecting(groups, bodies),
        Groups(groups),
        service,
        Ui(status),
    )
    names: dict[web.AbstractRoute, str] = {}
    app = web.Application()
    app[AROUND] = build_middleware(names, settings, clock, metrics)
    for operation in operations(handlers):
        route = app.router.add_route(operation.method, operation.path, operation.handler)
        names[route] = operation.name
        if operation.method == "GET":
            head = app.router.add_route("HEAD", operation.path, operation.handler)
            names[head] = operation.name

    async def lifetime(_: web.Application) -> AsyncIterator[None]:
        await groups.start()
        yield
        await status.close()
        await groups.close()
        bodies.close()

    app.cleanup_ctx.append(lifetime)
    return app


@asynccontextmanager
async def serve(app: web.Application, host: str, port: int, settings: BridgeSettings) -> AsyncIterator[int]:
    """Serves `build_app`'s application, or a plain one, until the block ends, then finishes the requests under way; yields the port (for `port` 0: the one given).

    Raises:
        OSError: The address cannot be listened on.
        ConfigError: The files for HTTPS cannot be used.
    """
    runner = ProblemRunner(
        app,
        app.get(AROUND),
        head_timeout=settings.request_timeout.total_seconds(),
        access_log=None,
        handle_signals=False,
        keepalive_timeout=settings.keep_alive.total_seconds(),
        shutdown_timeout=settings.request_timeout.total_seconds(),
        auto_decompress=False,
    )
    async with AsyncExitStack() as stack:
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        tls = await stack.enter_async_context(tls_context(settings.tls)) if settings.tls is not None else None
        site = web.TCPSite(runner, host, port, backlog=1024, reuse_address=True, ssl_context=tls)
        await site.start()
        yield runner.addresses[0][1]
