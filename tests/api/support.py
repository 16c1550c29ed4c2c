"""A bridge on a real port, and what tests of it share."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from durable_timer.metrics import Metrics
from durable_timer.stores.base import Store
from durable_timer_api.app import build_app, serve
from durable_timer_api.handlers.service import Probe
from durable_timer_api.settings import BridgeSettings

GROUP = "demo"
TIMERS = f"/api/v1/groups/{GROUP}/timers"
HOOK = "http://127.0.0.1:9/hook"
LATER = "2030-01-01T00:00:00.000000Z"


@dataclass(frozen=True, slots=True)
class Bridge:
    url: str
    store: Store
    metrics: Metrics


@asynccontextmanager
async def running_bridge(
    store: Store, settings: BridgeSettings | None = None, readiness: Mapping[str, Probe] | None = None
) -> AsyncIterator[Bridge]:
    settings = settings or BridgeSettings()
    metrics = Metrics()
    app = build_app({"default": store}, metrics, settings, readiness=readiness)
    async with serve(app, "127.0.0.1", 0, settings) as port:
        yield Bridge(f"http://127.0.0.1:{port}", store, metrics)


def create_body(**fields: object) -> dict[str, object]:
    """A create that is in order, with the fields given; None removes one."""
    body: dict[str, object] = {"executeAt": LATER, "callbackUrl": HOOK, **fields}
    return {name: value for name, value in body.items() if value is not None}
