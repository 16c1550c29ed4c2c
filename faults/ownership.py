"""Which executor owns what, and which timers it has in hand, as the store says."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from durable_timer.models.timer import webhook_id
from faults.checks import SHARDS
from faults.loop import Loop
from tests.support.waiting import eventually_blocking

SHARED_WITHIN: Final = 20.0

_IN_FLIGHT: Final = """
SELECT t.uid, t.occurrence FROM timers t JOIN timer_shards s USING (group_id, shard)
WHERE t.state = 1 AND (t.taken_epoch = s.epoch AND s.owner = ANY($1::text[]) OR EXISTS (
  SELECT FROM jsonb_to_recordset(s.drains::jsonb) AS d (epoch bigint, incarnation text)
  WHERE d.epoch = t.taken_epoch AND d.incarnation = ANY($1::text[])))
"""
"""What those took under the claim that they have, or before they gave it back."""

_OWNED: Final = """
SELECT m.name, count(*) FROM timer_shards s JOIN timer_members m ON m.incarnation = s.owner
WHERE NOT m.dead AND s.group_id = $1 GROUP BY 1
"""

_LIVING: Final = "SELECT incarnation FROM timer_members WHERE name = ANY($1::text[]) AND NOT dead"


@dataclass(frozen=True, slots=True)
class Ownership:
    """Reads a PostgreSQL store, by URL. Executors are named as members are."""

    loop: Loop
    store: str
    group: str

    def in_flight(self, incarnations: Collection[str]) -> frozenset[str]:
        """The occurrences (`webhook-id`) that those have taken and not settled.

        What others took over without being given it is not among them: ask before that, 2 s after a kill.
        """
        rows = self.fetch(_IN_FLIGHT, list(incarnations))
        return frozenset(webhook_id(row["uid"], row["occurrence"]) for row in rows)

    def living(self, *executors: str) -> set[str]:
        """The incarnations under which those executors live: one each, unless it died unnoticed or starts."""
        return {row["incarnation"] for row in self.fetch(_LIVING, list(executors))}

    def owned(self) -> dict[str, int]:
        """How many of the group's shards each living executor owns, by its name."""
        return {row["name"]: row["count"] for row in self.fetch(_OWNED, self.group)}

    def wait_shared(self, *executors: str, within: float = SHARED_WITHIN) -> None:
        """Returns once those executors own all shards, and others none."""

        def shared() -> bool:
            owned = self.owned()
            return sum(owned.values()) == SHARDS and owned.keys() == set(executors)

        eventually_blocking(shared, within)

    def fetch(self, statement: str, *values: object) -> list[Any]:
        """The rows of a statement on a connection of its own."""

        async def fetch() -> list[Any]:
            connection = await asyncpg.connect(self.store, timeout=5)
            try:
                return list(await connection.fetch(statement, *values))
            finally:
                await connection.close()

        return self.loop.do(fetch())
