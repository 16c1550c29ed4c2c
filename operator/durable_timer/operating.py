"""The operator's process from start to stop: probes, the Lease, and what only its holder does."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import structlog

from durable_timer.clock import Clock, SystemClock
from durable_timer.config import Settings
from durable_timer.errors import ConfigError, KubeError, KubeUndefined
from durable_timer.factory import Factory
from durable_timer.health import health_app
from durable_timer.logs import masked
from durable_timer.models.resource import ResourceKind
from durable_timer.service import Signals, listen

try:
    from durable_timer.controller.watching import watch
    from durable_timer.kube.client import KubeClient, open_client
    from durable_timer.kube.lease import Election
    from durable_timer.kube.resources import Resources
    from durable_timer.reconcile.core import Core, CoreSettings
except ModuleNotFoundError as missing:
    raise ConfigError(
        f"the operator needs {missing.name}, which is not installed: pip install 'durable-timer[kubernetes]'"
    ) from missing

NAMESPACE_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
"""Where a pod finds the namespace it runs in."""

NAMESPACE: Final = "default"
"""The namespace of the Lease outside a cluster."""

ASK_AGAIN: Final = 2.0
"""Seconds between two looks for the custom resource definitions."""

END_WITHIN: Final = 5.0
"""Seconds that kopf and the core have to end in after one of them failed, or the Lease was lost."""

log = structlog.get_logger(__name__)


async def operate(settings: Settings, stop: asyncio.Event | None = None) -> None:
    """Leads, or waits to lead, until SIGTERM, SIGINT or `stop`; then hands the Lease over and returns.

    Raises:
        ConfigError: The process cannot start.
        LeaseLost: It led, and does not any more: the process has to end, and to begin anew.
    """
    stop = stop or asyncio.Event()
    factory = Factory(settings)
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        signals = Signals(stop)
        stack.enter_context(signals)
        stack.push_async_callback(factory.close)
        stores = await stack.enter_async_context(factory.unprepared_stores())
        client = await stack.enter_async_context(open_client())
        election = _election(settings, client, clock)
        api = Resources(client, election.leading, settings.kubernetes.identity)
        metrics = factory.metrics.operator
        metrics.observe(election.leading)
        core = Core(stores, api, _core_settings(settings), clock, factory.rng, metrics, election.leading)
        operator = Operator(core, api, election, signals, settings.kubernetes.namespaces)
        app = health_app(factory.metrics, operator.healthy, lambda: True)
        address = await listen(app, factory.bridge_settings(), settings, stack)
        served = ", ".join(f"{name}: {masked(url)}" for name, url in settings.named_stores.items())
        log.info("serving", role="operator", listen=address, stores=served)
        await operator.run(stop)
        log.info("stopped", role="operator")


class Operator:
    """Waits for the Lease; then the core works, kopf watches, and the Lease is held, all of it or nothing."""

    def __init__(
        self, core: Core, api: Resources, election: Election, signals: Signals, namespaces: tuple[str, ...]
    ) -> None:
        self._core = core
        self._api = api
        self._election = election
        self._signals = signals
        self._namespaces = namespaces
        self._working = False

    def healthy(self) -> bool:
        """Whether the reconcile loop turned lately, where it has to turn."""
        return not self._working or self._core.healthy()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`. Raises: LeaseLost; whatever made kopf or the core end."""
        if not await _unless(stop, self._election.acquire()):
            await self._election.release()
            return
        self._working = True
        async with asyncio.TaskGroup() as group:
            held = group.create_task(_all_or_nothing(self._election.hold()), name="lease")
            working = group.create_task(_all_or_nothing(self._core.run()), name="core")
            watching = group.create_task(_all_or_nothing(self._watch()), name="watch")
            await stop.wait()
            log.info("stopping: the Lease is handed over")
            held.cancel()
            working.cancel()
            await asyncio.wait((held, working))
            await self._election.release()
            watching.cancel()

    async def _watch(self) -> None:
        await self._await_definitions()
        await watch(self._core, self._namespaces, self._signals.take)

    async def _await_definitions(self) -> None:
        """Kopf looks once for the kinds that it is to watch, at its start."""
        complained = False
        for kind in ResourceKind:
            while True:
                try:
                    await self._api.list(kind, self._namespaces[0] if self._namespaces else None)
                    break
                except KubeError as error:
                    why = (
                        f"no {kind.plural} are defined: apply crds/" if isinstance(error, KubeUndefined) else str(error)
                    )
                    if not complained:
                        log.warning("cannot watch yet, asking again", error=why)
                    complained = True
                    await asyncio.sleep(ASK_AGAIN)


async def _all_or_nothing(part: Coroutine[None, None, None]) -> None:
    """Runs a part of what a leader does; when it fails the process ends, whatever holds the other parts up."""
    try:
        await part
    except Exception as error:
        log.error("no longer at work, the process ends", error=str(error) or type(error).__name__)  # noqa: TRY400 - raised
        asyncio.get_running_loop().call_later(END_WITHIN, os.kill, os.getpid(), signal.SIGKILL)
        raise


async def _unless(stop: asyncio.Event, work: Coroutine[None, None, None]) -> bool:
    """Whether the work ended before `stop`; else it is cancelled."""
    async with asyncio.TaskGroup() as group:
        tasks = (group.create_task(work), group.create_task(_set(stop)))
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
    return not stop.is_set()


async def _set(event: asyncio.Event) -> None:
    await event.wait()


def _election(settings: Settings, client: KubeClient, clock: Clock) -> Election:
    part = settings.kubernetes
    identity = f"{part.identity}_{secrets.token_hex(4)}"
    return Election(client, part.lease_namespace or _own_namespace(), part.lease_name, identity, clock)


def _own_namespace() -> str:
    try:
        return NAMESPACE_FILE.read_text().strip() or NAMESPACE
    except OSError:
        return NAMESPACE


def _core_settings(settings: Settings) -> CoreSettings:
    part = settings.kubernetes
    return CoreSettings(
        cluster=part.cluster,
        namespaces=part.namespaces,
        identity=part.identity,
        request_timeout=settings.http.request_timeout,
    )
