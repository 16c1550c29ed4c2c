"""The operations of api.yaml: which path and method each has, and what answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from aiohttp import web

from durable_timer_api.handlers.changing import Changing
from durable_timer_api.handlers.creating import Creating
from durable_timer_api.handlers.groups import Groups
from durable_timer_api.handlers.listing import Listing
from durable_timer_api.handlers.selecting import Selecting
from durable_timer_api.handlers.service import Service
from durable_timer_api.handlers.ui import Ui

Handler = Callable[[web.Request], Awaitable[web.Response]]


class Operation(NamedTuple):
    """One row of the table; `name` is the operationId."""

    name: str
    method: str
    path: str
    handler: Handler


class Handlers(NamedTuple):
    """What answers them."""

    creating: Creating
    changing: Changing
    listing: Listing
    selecting: Selecting
    groups: Groups
    service: Service
    ui: Ui


_GROUPS = "/api/v1/groups"
_GROUP = _GROUPS + "/{groupId}"
_TIMERS = _GROUP + "/timers"
_TIMER = _TIMERS + "/{timerId}"


def operations(handlers: Handlers) -> list[Operation]:
    """Every route there is."""
    creating, changing, listing, selecting, groups, service, ui = handlers
    return [
        Operation("createTimer", "POST", _TIMERS, creating.one),
        Operation("listTimers", "GET", _TIMERS, listing.timers),
        Operation("createTimers", "POST", f"{_TIMERS}:batch", creating.batch),
        Operation("cancelTimers", "POST", f"{_TIMERS}:cancel", selecting.cancel),
        Operation("redriveTimers", "POST", f"{_TIMERS}:redrive", selecting.redrive),
        Operation("getTimer", "GET", _TIMER, changing.get),
        Operation("putTimer", "PUT", _TIMER, changing.put),
        Operation("patchTimer", "PATCH", _TIMER, changing.put),
        Operation("deleteTimer", "DELETE", _TIMER, changing.delete),
        Operation("runTimer", "POST", f"{_TIMER}:run", changing.run),
        Operation("redriveTimer", "POST", f"{_TIMER}:redrive", changing.redrive),
        Operation("listGroups", "GET", _GROUPS, groups.list),
        Operation("getGroup", "GET", _GROUP, groups.get),
        Operation("livez", "GET", "/livez", service.livez),
        Operation("healthz", "GET", "/healthz", service.livez),
        Operation("readyz", "GET", "/readyz", service.readyz),
        Operation("metrics", "GET", "/metrics", service.metrics),
        Operation("openapi", "GET", "/api.yaml", service.openapi),
        Operation("docs", "GET", "/docs", service.docs),
        Operation("ui", "GET", "/ui", ui.file("page.html")),
        Operation("uiApp", "GET", "/ui/app.js", ui.file("app.js")),
        Operation("uiView", "GET", "/ui/view.js", ui.file("view.js")),
        Operation("uiStyle", "GET", "/ui/style.css", ui.file("style.css")),
        Operation("uiStatus", "GET", "/ui/status", ui.status),
    ]
