"""The groups as a bridge knows them: read by their change number, and never older than the staleness it states."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

import structlog

from durable_timer.clock import Clock
from durable_timer.errors import StoreError, StoreUnavailable
from durable_timer.metrics import Metrics
from durable_timer.models.group import Group, GroupState
from durable_timer.models.results import IfExists
from durable_timer.stores.base import Store
from durable_timer_api.creates import Creates
from durable_timer_api.payloads import PayloadRules
from durable_timer_api.problems import Code, Problem
from durable_timer_api.settings import BridgeSettings
from durable_timer_api.turns import Turns

_OFFSET_INTERVAL: Final = 10.0
"""Seconds between two looks at the store's clock."""

_log = structlog.get_logger(__name__)


class StoreDoor:
    """One store as the bridge uses it, from the monotonic time `opened_at` on; `patience` is that of its turns."""

    def __init__(self, name: str, store: Store, patience: float, opened_at: float) -> None:
        self.name = name
        self.store = store
        self.creates: Mapping[IfExists, Creates] = {rule: Creates(store, rule) for rule in IfExists}
        self.turns = Turns(patience)
        self.offset = timedelta(0)
        """The store's clock less this machine's, as last measured."""
        self.change: int | None = None
        self.read_at: float | None = None
        self.reread_at: float | None = None
        self.offset_at: float | None = None
        self.turned_at = opened_at


class ServedGroup:
    """A group, its store, and its rules for payloads (compiled once for each change)."""

    __slots__ = ("door", "group", "payloads")

    def __init__(self, group: Group, door: StoreDoor) -> None:
        self.group = group
        self.door = door
        self.payloads = PayloadRules(group.spec.payload)

    def require_writable(self) -> None:
        """Raises: Problem GROUP_DELETED, unless the group is active."""
        if self.group.state is not GroupState.ACTIVE:
            raise Problem(Code.GROUP_DELETED, f'group "{self.group.group_id}" was deleted and refuses writes')


class GroupsCache:
    """Reads groups once a second by `change`, and all of them now and then; `start` it, and `close` it at the end.

    Each store is read by itself: one that is away, or slow, holds up no other.
    """

    def __init__(self, stores: Mapping[str, Store], settings: BridgeSettings, clock: Clock, metrics: Metrics) -> None:
        patience = settings.request_timeout.total_seconds() / 2
        self.doors = tuple(StoreDoor(name, store, patience, clock.monotonic()) for name, store in stores.items())
        self._groups: dict[str, ServedGroup] = {}
        self._settings = settings
        self._stale_after = settings.groups_stale_after.total_seconds()
        self._clock = clock
        self._metrics = metrics
        self._loops: tuple[asyncio.Task[None], ...] = ()
        self._asking: asyncio.Task[None] | None = None
        self._readings = 0

    async def start(self) -> None:
        """Reads once (a store that is away now is asked again) and goes on in the background."""
        first = {door: asyncio.create_task(self._read_again(door)) for door in self.doors}
        self._loops = tuple(
            asyncio.create_task(self._turn(door, reading), name=f"groups of {door.name}")
            for door, reading in first.items()
        )
        await asyncio.wait(first.values())

    async def close(self) -> None:
        """Ends the reading and waits for creates under way."""
        for task in (*self._loops, self._asking):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError, StoreError):
                    await task
        for door in self.doors:
            for creates in door.creates.values():
                await creates.close()

    async def get(self, group_id: str) -> ServedGroup:
        """The group, whatever its state.

        Raises:
            Problem: GROUP_NOT_FOUND, after the stores were asked; NOT_READY, when its store was not read lately.
            StoreUnavailable: The others do not have it, and a store could not be asked.
        """
        served = self._groups.get(group_id) or await self._find(group_id)
        if not self.is_fresh_at(served.door):
            raise self._stale()
        return served

    def all(self) -> list[ServedGroup]:
        """All groups by id. Raises: Problem NOT_READY."""
        if not all(map(self.is_fresh_at, self.doors)):
            raise self._stale()
        return self.known()

    def known(self) -> list[ServedGroup]:
        """All groups by id as they were read last, however long ago."""
        return [self._groups[group_id] for group_id in sorted(self._groups)]

    def is_fresh_at(self, door: StoreDoor) -> bool:
        """Whether that store's groups were read lately."""
        return door.read_at is not None and self._clock.monotonic() - door.read_at < self._stale_after

    def now(self, door: StoreDoor) -> datetime:
        """The store's time, as far as this process knows it."""
        return self._clock.now() + door.offset

    def _stale(self) -> Problem:
        return Problem(Code.NOT_READY, f"groups were not read in the last {self._stale_after:g} s")

    async def _turn(self, door: StoreDoor, first: asyncio.Task[None]) -> None:
        interval = self._settings.groups_interval.total_seconds()
        await first
        while True:
            await asyncio.sleep(interval)
            await self._read_again(door)
            door.turned_at = self._clock.monotonic()

    async def _read_again(self, door: StoreDoor) -> None:
        try:
            async with asyncio.timeout(self._stale_after):
                await self._read(door)
                await self._measure_offset(door)
        except (StoreError, TimeoutError) as error:
            _log.warning("groups not read", store=door.name, error=str(error) or type(error).__name__)
        except Exception:  # noqa: BLE001 - it is to be read again
            _log.exception("groups not read", store=door.name)

    async def _find(self, group_id: str) -> ServedGroup:
        away: StoreError | None = None
        try:
            await self._ask()
        except StoreError as error:
            away = error
        served = self._groups.get(group_id)
        if served is None:
            raise away or Problem(Code.GROUP_NOT_FOUND, f'there is no group "{group_id}"')
        return served

    async def _ask(self) -> None:
        """Reads what changed at every store; those who ask while it is read share the next reading."""
        wanted = self._readings + 1
        while True:
            if self._asking is None:
                self._readings += 1
                self._asking = asyncio.create_task(self._read_now(), name="groups asked for")
            reading = self._readings
            try:
                await asyncio.shield(self._asking)
            except StoreError:
                if reading >= wanted:
                    raise
            if reading >= wanted:
                return

    async def _read_now(self) -> None:
        try:
            answers = await asyncio.gather(*map(self._read_in_time, self.doors), return_exceptions=True)
        finally:
            self._asking = None
        for answer in answers:
            if answer is not None:
                raise answer

    async def _read_in_time(self, door: StoreDoor) -> None:
        try:
            async with asyncio.timeout(self._stale_after):
                await self._read(door)
        except TimeoutError:
            raise StoreUnavailable(f"store {door.name!r} did not answer within {self._stale_after:g} s") from None

    async def _read(self, door: StoreDoor) -> None:
        began = self._clock.monotonic()
        reread = self._settings.groups_reread_interval.total_seconds()
        since = None if door.reread_at is None or began - door.reread_at >= reread else door.change
        groups, change = await door.store.groups(since)
        for group in groups:
            known = self._groups.get(group.group_id)
            if known is None or group.change > known.group.change or (since is None and group != known.group):
                self._serve(group, door)
        door.change = change if since is None or door.change is None else max(change, door.change)
        door.read_at = max(began, door.read_at or began)
        if since is None:
            door.reread_at = began

    def _serve(self, group: Group, door: StoreDoor) -> None:
        try:
            self._groups[group.group_id] = ServedGroup(group, door)
        except ValueError as error:
            _log.error("a group cannot be served by this release", group=group.group_id, error=str(error))

    async def _measure_offset(self, door: StoreDoor) -> None:
        began = self._clock.monotonic()
        if door.offset_at is not None and began - door.offset_at < _OFFSET_INTERVAL:
            return
        before = self._clock.now()
        now = await door.store.now()
        door.offset = now - (before + (self._clock.now() - before) / 2)
        door.offset_at = began
        self._metrics.clock_offset(door.offset.total_seconds())
