"""Bringing stores to this release's schema at a program's start, one that is away or does not answer holding up no other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import structlog

from durable_timer.errors import StoreError, StoreUnavailable
from durable_timer.logs import masked
from durable_timer.stores.base import Store

OTHERS_WITHIN: Final = 5.0
"""Seconds from the start for which the others are waited for, once one store is prepared."""

AGAIN: Final = 1.0
"""Seconds between two tries to prepare a store that was away."""

log = structlog.get_logger(__name__)


async def prepare(store: Store, url: str) -> None:
    """Migrates the store. Raises: StoreError; one that is away is named by its URL."""
    try:
        await store.migrate()
    except StoreUnavailable as error:
        raise StoreUnavailable(f"store {masked(url)}: {error}") from error


@asynccontextmanager
async def prepared(stores: Mapping[str, Store], urls: Mapping[str, str]) -> AsyncIterator[None]:
    """Enters its block when one of the stores is prepared; those that are away by then are tried again until its end.

    Raises:
        StoreUnavailable: None of them answers.
        StoreError: One cannot be used.
    """
    tasks = {name: asyncio.create_task(prepare(store, urls[name])) for name, store in stores.items()}
    later: list[asyncio.Task[None]] = []
    try:
        for name in await _unprepared(tasks):
            log.warning("serving without a store for now", store=name)
            later.append(asyncio.create_task(_go_on(name, stores[name], urls[name], tasks[name])))
        yield
    finally:
        for task in (*later, *tasks.values()):
            task.cancel()


async def _unprepared(tasks: Mapping[str, asyncio.Task[None]]) -> list[str]:
    loop = asyncio.get_running_loop()
    until, one, waiting = loop.time() + OTHERS_WITHIN, False, set(tasks.values())
    away: StoreUnavailable | None = None
    while waiting and not (one and loop.time() >= until):
        patience = max(0.0, until - loop.time()) if one else None
        done, waiting = await asyncio.wait(waiting, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            try:
                task.result()
            except StoreUnavailable as error:
                away = error
            else:
                one = True
    if away is not None and not one:
        raise away
    return [name for name, task in tasks.items() if not task.done() or task.exception() is not None]


async def _go_on(name: str, store: Store, url: str, attempt: asyncio.Task[None]) -> None:
    while True:
        try:
            await attempt
        except StoreUnavailable as error:
            log.debug("a store is still away", store=name, error=str(error))
        except StoreError as error:
            log.error("a store cannot be used", store=name, error=str(error))  # noqa: TRY400 - its message says all
        else:
            log.info("a store that was away is served now", store=name)
            return
        await asyncio.sleep(AGAIN)
        attempt = asyncio.create_task(prepare(store, url))
