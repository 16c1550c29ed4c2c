"""Purges every group that a store says is purging, whether its resource is still there or not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import structlog

from durable_timer.clock import Clock
from durable_timer.errors import StoreError
from durable_timer.groups.purging import purge, quiet_after
from durable_timer.models.group import Group, GroupState
from durable_timer.reconcile.directory import Directory
from durable_timer.stores.base import Store

LOOK_EVERY: Final = 1.0
"""Seconds between two looks for groups that are purging."""

PAUSE: Final = 5.0
"""Seconds after which a purge that failed goes on."""

log = structlog.get_logger(__name__)


class Purger:
    """Purges while it runs. `progressed` is told the group's store and row, at most each few seconds, and at the end."""

    def __init__(
        self,
        directory: Directory,
        request_timeout: timedelta,
        clock: Clock,
        leading: Callable[[], bool],
        progressed: Callable[[str, Group], None],
    ) -> None:
        self._directory = directory
        self._request_timeout = request_timeout
        self._clock = clock
        self._leading = leading
        self._progressed = progressed
        self._deleted: dict[tuple[str, str], int] = {}

    def deleted(self, store_name: str, group_id: str) -> int:
        """How many timers of a group this process has deleted in the purge under way, or the last one."""
        return self._deleted.get((store_name, group_id), 0)

    async def run(self) -> None:
        """Purges until cancelled."""
        under_way: dict[tuple[str, str], asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as tasks:
            while True:
                for store_name, store, group in self._directory.rows():
                    key = (store_name, group.group_id)
                    if group.state is GroupState.PURGING and (key not in under_way or under_way[key].done()):
                        under_way[key] = tasks.create_task(
                            self._purge(store_name, store, group), name=f"purge {group.group_id}"
                        )
                await asyncio.sleep(LOOK_EVERY)

    async def _purge(self, store_name: str, store: Store, group: Group) -> None:
        key = (store_name, group.group_id)
        self._deleted[key] = 0
        told = self._clock.monotonic()

        def count(piece: int) -> None:
            nonlocal told
            if not self._leading():
                raise StoreError("no longer leading")
            self._deleted[key] += piece
            if piece and self._clock.monotonic() - told >= PAUSE:
                told = self._clock.monotonic()
                self._progressed(store_name, group)

        log.info("purging", store=store_name, group=group.group_id)
        try:
            since = await store.now() - group.state_since
            quiet_in = max(timedelta(0), quiet_after(store, self._request_timeout) - since)
            await purge(store, group.group_id, quiet_in, count)
            await self._refresh(store_name, store, group)
        except (StoreError, TimeoutError) as error:
            log.warning("a purge was interrupted", group=group.group_id, error=str(error) or "timeout")
            await asyncio.sleep(PAUSE)
            return
        log.info("purged", store=store_name, group=group.group_id, timers=self._deleted[key])
        self._progressed(store_name, group)

    async def _refresh(self, store_name: str, store: Store, group: Group) -> None:
        """Makes the directory see that the group is not purging any more, before anybody looks there again."""
        changed, _ = await store.groups(group.change)
        for one in changed:
            self._directory.put(store_name, one)
