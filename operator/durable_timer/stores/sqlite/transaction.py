"""What a unit of writing works with."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from datetime import datetime
from typing import Final

from durable_timer.stores.sql.documents import instant_to_micros

_SOON_MICROS: Final = 2_000_000
"""A timer due later than this is found by the probes in time: no wake-up for it."""


class Transaction:
    """The connection, inside its transaction, the store's now, and the wake-ups to send after the commit.

    Work may run more than once before it is answered (when others that shared its transaction failed), so it keeps
    nothing but rows and what it returns.
    """

    __slots__ = ("connection", "micros", "now", "wakes")

    def __init__(self, connection: sqlite3.Connection, now: datetime, wakes: dict[str, set[int]] | None = None) -> None:
        self.connection = connection
        self.now = now
        self.micros = instant_to_micros(now)
        self.wakes = {} if wakes is None else wakes

    def wake(self, group_id: str, shards: Collection[int]) -> None:
        """Timers of these shards may be due sooner; none named means all of the group's."""
        present = self.wakes.get(group_id)
        if not shards:
            self.wakes[group_id] = set()
        elif present is None:
            self.wakes[group_id] = set(shards)
        elif present:
            present.update(shards)

    def wake_if_soon(self, group_id: str, shard: int, due_micros: int) -> None:
        """Wakes for a timer that may be in the queue, unless it is due much later."""
        if due_micros - self.micros < _SOON_MICROS:
            self.wake(group_id, (shard,))
