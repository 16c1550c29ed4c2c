"""What a process without the REST API serves: probes and metrics."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from durable_timer.metrics import CONTENT_TYPE, Metrics


def health_app(metrics: Metrics, healthy: Callable[[], bool], ready: Callable[[], bool]) -> web.Application:
    """`/livez` and `/healthz` answer 200 while `healthy`, `/readyz` while `ready`, else 503; `/metrics` always."""

    async def live(request: web.Request) -> web.Response:
        del request
        return _probe(healthy())

    async def readiness(request: web.Request) -> web.Response:
        del request
        return _probe(ready())

    async def numbers(request: web.Request) -> web.Response:
        del request
        return web.Response(body=metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    app = web.Application()
    app.router.add_get("/livez", live)
    app.router.add_get("/healthz", live)
    app.router.add_get("/readyz", readiness)
    app.router.add_get("/metrics", numbers)
    return app


def _probe(good: bool) -> web.Response:
    return web.Response(text="ok\n" if good else "failing\n", status=200 if good else 503)
