"""A serving process from start to stop: store, groups, HTTP, executor, signals, under one supervisor."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from enum import Enum
from typing import Final

import structlog
from aiohttp import web

from durable_timer.config import Settings, split_listen
from durable_timer.engine.executor import Executor
from durable_timer.errors import ConfigError, StoreUnavailable
from durable_timer.factory import Factory
from durable_timer.logs import masked
from durable_timer.models.limits import STORE_DEFAULT
from durable_timer.stores.base import Store
from durable_timer_api.app import serve as serve_app
from durable_timer_api.settings import BridgeSettings

DESCRIPTORS: Final = 65_536
"""Open files that are asked for where there is no limit."""

START_AGAIN: Final = 1.0
"""Seconds between two looks for a store that is away at the start."""

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

_Parts = tuple[Mapping[str, Store], Executor | None, web.Application]

log = structlog.get_logger(__name__)


class Role(Enum):
    """What a process does."""

    STANDALONE = "standalone"
    BRIDGE = "bridge"
    EXECUTOR = "executor"


async def serve(settings: Settings, role: Role, stop: asyncio.Event | None = None) -> None:
    """Serves until SIGTERM, SIGINT or `stop`; then ends what is under way, bounded, and returns.

    A second signal ends the process at once.

    Raises:
        ConfigError, ManifestError, StoreError: The process cannot start.
    """
    _raise_descriptors(2 * settings.engine.slots)
    factory = Factory(settings)
    manifests = factory.manifests()
    stop = stop or asyncio.Event()
    async with AsyncExitStack() as stack:
        stack.enter_context(Signals(stop))
        stack.push_async_callback(factory.close)
        parts = await _patiently(factory, role, settings, stop, stack)
        if parts is None:
            return
        stores, executor, app = parts
        await factory.apply_groups(stores, manifests)
        address = await listen(app, factory.bridge_settings(), settings, stack)
        urls = settings.named_stores.values() if role is Role.BRIDGE else (settings.store,)
        log.info("serving", role=role.value, listen=address, store=" ".join(map(masked, urls)))
        async with asyncio.TaskGroup() as group:
            group.create_task(_stopping(stop, executor))
            if executor is not None:
                group.create_task(executor.run())
        log.info("stopped", role=role.value)


def _raise_descriptors(wanted: int) -> None:
    """Allows as many open files as this process may have: each callback, client and store connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = max(soft, DESCRIPTORS)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    if hard < wanted:
        log.warning("few open files are allowed (ulimit -n): callbacks may have to wait", allowed=hard, wanted=wanted)


async def _stopping(stop: asyncio.Event, executor: Executor | None) -> None:
    await stop.wait()
    log.info("stopping: what is under way ends first, a second signal ends at once")
    if executor is not None:
        executor.stop()


async def _patiently(
    factory: Factory, role: Role, settings: Settings, stop: asyncio.Event, stack: AsyncExitStack
) -> _Parts | None:
    """The parts, as soon as the stores answer; None when it is asked to stop before.

    Raises:
        StoreUnavailable: One is still away after `database.start_wait`.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + settings.database.start_wait.total_seconds()
    while True:
        try:
            async with AsyncExitStack() as opened:
                parts = await _parts(factory, role, settings, opened)
                stack.push_async_exit(opened.pop_all())
                return parts
        except StoreUnavailable as error:
            if loop.time() >= until:
                raise
            log.warning("waiting for the store", error=str(error))
        with suppress(TimeoutError):
            async with asyncio.timeout(START_AGAIN):
                await stop.wait()
        if stop.is_set():
            return None


async def _parts(factory: Factory, role: Role, settings: Settings, stack: AsyncExitStack) -> _Parts:
    if role is Role.BRIDGE:
        stores = await stack.enter_async_context(factory.named_stores())
        return stores, None, factory.bridge(stores, None)
    if role is Role.EXECUTOR:
        store = await stack.enter_async_context(factory.store(settings.database.engine_statement_timeout))
        executor = await stack.enter_async_context(factory.executor(store))
        return {STORE_DEFAULT: store}, executor, factory.health(executor)
    store = await stack.enter_async_context(factory.store())
    engine_store = await stack.enter_async_context(factory.engine_store(store))
    both = await stack.enter_async_context(factory.executor(engine_store))
    return {STORE_DEFAULT: store}, both, factory.bridge({STORE_DEFAULT: store}, both)


async def listen(
    app: web.Application, bridge_settings: BridgeSettings, settings: Settings, stack: AsyncExitStack
) -> str:
    """Listens until the stack is left; answers the address, with the port that was given where 0 was asked for."""
    host, port = split_listen(settings.listen)
    try:
        port = await stack.enter_async_context(serve_app(app, host or "", port, bridge_settings))
    except OSError as error:
        raise ConfigError(f"--listen {settings.listen}: {_why_not(error)}") from None
    return f"{settings.listen.rpartition(':')[0]}:{port}"


def _why_not(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "the address is in use by another program"
        case errno.EACCES:
            return "this user may not listen there"
        case errno.EADDRNOTAVAIL:
            return "this machine has no such address"
        case _:
            return str(error.strerror or error)


class Signals:
    """While entered, the first SIGTERM or SIGINT sets the event and the second ends the process."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> None:
        self.take()

    def take(self) -> None:
        """Handles the signals; once more, where somebody else took them meanwhile."""
        for number in _SIGNALS:
            self._loop.add_signal_handler(number, self._received, number)

    def __exit__(self, *_: object) -> None:
        for number in _SIGNALS:
            self._loop.remove_signal_handler(number)

    def _received(self, number: signal.Signals) -> None:
        if self._stop.is_set():
            os._exit(128 + number)
        self._stop.set()
