"""The groups of all stores, as they were a second ago; and which stores answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Final

import structlog

from durable_timer.clock import Clock
from durable_timer.errors import StoreError
from durable_timer.logs import masked
from durable_timer.models.group import Group, GroupState
from durable_timer.reconcile.base import RegisteredGroup, Stores
from durable_timer.stores.base import Store

READ_EVERY: Final = 1.0
"""Seconds between two reads of changed groups."""

READ_ALL_EVERY: Final = 30.0
"""Seconds between two reads of all groups."""

TURN: Final = 50
"""Rows that are taken in in one turn of the loop: each looks for its Timers among all, and the Lease is renewed beside."""

CALL_TIMEOUT: Final = 6.0
"""Seconds that a store call of the operator is waited for."""

AWAY_AFTER: Final = 3.0
"""Seconds without an answer after which a store counts as away: a failover of the database is no news."""

GroupChanged = Callable[[str, Group | None, Group], None]
"""Told of the store's name, the row as it was (None for a new one), and the row as it is."""

log = structlog.get_logger(__name__)


class _Book:
    """What is known of one store."""

    def __init__(self, now: float) -> None:
        self.rows: dict[str, Group] = {}
        self.owners: dict[str, set[str]] = {}
        self.since: int | None = None
        self.read_all_at = float("-inf")
        self.answered_at = now
        self.preparing: asyncio.Task[None] | None = None
        self.problem: str | None = None
        self.away: str | None = None


class Directory:
    """Reads the groups of each store once a second (`reconcile.base.GroupDirectory`).

    A store is brought to this release's schema before its first read; until that has been possible it counts as away.
    """

    def __init__(
        self, stores: Stores, cluster: str, clock: Clock, changed: GroupChanged, came_or_went: Callable[[str], None]
    ) -> None:
        self._stores = stores
        self._cluster = cluster
        self._clock = clock
        self._changed = changed
        self._came_or_went = came_or_went
        self._books = {name: _Book(clock.monotonic()) for name in stores}

    def owner(self, namespace: str, name: str) -> str:
        """As whom the TimerGroup of that name registers its group."""
        return f"{self._cluster}/{namespace}/{name}"

    def declared_by(self, owner: str) -> tuple[str, str] | None:
        """Namespace and name of the TimerGroup of this cluster that is the owner; None for any other owner."""
        cluster, _, rest = owner.partition("/")
        namespace, slash, name = rest.partition("/")
        return (namespace, name) if slash and cluster == self._cluster else None

    def find(self, namespace: str, name: str) -> RegisteredGroup | None:
        """As `GroupDirectory`: of several groups that it registered in turn, the active one, or the last one written."""
        found = max(
            self.owned(self.owner(namespace, name)),
            key=lambda one: (one[1].state is GroupState.ACTIVE, one[1].state_since),
            default=None,
        )
        if found is None:
            return None
        return RegisteredGroup(self._stores[found[0]], found[0], found[1], namespace, name)

    def owned(self, owner: str) -> Iterator[tuple[str, Group]]:
        """All rows of an owner, with the name of the store of each."""
        for store_name, book in self._books.items():
            for group_id in book.owners.get(owner, ()):
                yield store_name, book.rows[group_id]

    def row(self, store_name: str, group_id: str) -> Group | None:
        return self._books[store_name].rows.get(group_id)

    def rows(self) -> Iterator[tuple[str, Store, Group]]:
        """All rows of all stores."""
        for store_name, book in self._books.items():
            store = self._stores[store_name]
            for group in list(book.rows.values()):
                yield store_name, store, group

    def away(self, store_name: str) -> str | None:
        """Why a store cannot be reached; None while it answers."""
        return self._books[store_name].away

    def read_once(self, store_name: str) -> bool:
        """Whether the groups of a store were ever read."""
        return self._books[store_name].since is not None

    def put(self, store_name: str, group: Group) -> None:
        """Takes in a row that a write has just answered, or a read; an older one than the known is left out."""
        book = self._books[store_name]
        known = book.rows.get(group.group_id)
        if known == group or (known is not None and known.change > group.change):
            return
        if known is not None:
            book.owners[known.owner].discard(group.group_id)
        book.rows[group.group_id] = group
        book.owners.setdefault(group.owner, set()).add(group.group_id)
        self._changed(store_name, known, group)

    async def run(self) -> None:
        """Reads until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for name in self._stores:
                    group.create_task(self._follow(name), name=f"groups of store {name}")
        finally:
            for book in self._books.values():
                if book.preparing is not None:
                    book.preparing.cancel()

    async def _follow(self, store_name: str) -> None:
        book = self._books[store_name]
        while True:
            try:
                async with asyncio.timeout(CALL_TIMEOUT):
                    await self._prepared(self._stores[store_name], book)
                    await self._read(store_name, book)
            except (StoreError, TimeoutError) as error:
                self._failed(store_name, book, masked(str(error)) or "no answer in time")
            else:
                self._answered(store_name, book)
            await asyncio.sleep(READ_EVERY)

    async def _prepared(self, store: Store, book: _Book) -> None:
        """Waits for the schema; a migration goes on beyond this wait, whose end would else undo it each time."""
        if book.preparing is None:
            book.preparing = asyncio.create_task(store.migrate(), name="migration")
        try:
            await asyncio.shield(book.preparing)
        except StoreError:
            book.preparing = None
            raise

    async def _read(self, store_name: str, book: _Book) -> None:
        store = self._stores[store_name]
        now = self._clock.monotonic()
        whole = now - book.read_all_at >= READ_ALL_EVERY
        changed, newest = await store.groups(None if whole else book.since)
        for number, group in enumerate(changed, 1):
            self.put(store_name, group)
            if number % TURN == 0:
                await asyncio.sleep(0)
        if whole:
            book.read_all_at = now
        book.since = newest

    def _failed(self, store_name: str, book: _Book, problem: str) -> None:
        if book.problem is None:
            log.warning("a store does not answer", store=store_name, error=problem)
        book.problem = problem
        if book.away is None and self._clock.monotonic() - book.answered_at >= AWAY_AFTER:
            book.away = f"store {store_name!r} does not answer: {problem}"
            self._came_or_went(store_name)

    def _answered(self, store_name: str, book: _Book) -> None:
        book.answered_at = self._clock.monotonic()
        if book.problem is not None:
            log.info("a store answers again", store=store_name)
        book.problem = None
        if book.away is not None:
            book.away = None
            self._came_or_went(store_name)
