"""Lists and counts."""

from __future__ import annotations

from typing import Any, Final

import orjson
import sqlalchemy as sa

from durable_timer.models.page import Counts, ListOrder, Page, Position, TimerFilter
from durable_timer.stores.postgresql import statements
from durable_timer.stores.postgresql.connections import Connections, Row
from durable_timer.stores.postgresql.keyed import CODEC
from durable_timer.stores.postgresql.listing import Listing, compiled
from durable_timer.stores.sql.rows import TIMER_COLUMNS

EXACT: Final = 10_000
"""Up to here counts are exact."""

_DUE_AT: Final = TIMER_COLUMNS.index("due_at")
_EXECUTED_AT: Final = TIMER_COLUMNS.index("executed_at")
_TIMER_ID: Final = TIMER_COLUMNS.index("timer_id")
_COUNTED: Final = ("pending", "running", "completed", "failed", "due")


class Lists:
    """`list` and `counts` of `Store`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def page(
        self, group_id: str, where: TimerFilter, *, limit: int, after: Position | None, payloads: bool
    ) -> Page:
        """See `Store.list`. A filter that no index answers may make a page short, or even empty, and not the last."""
        listing = Listing(group_id, where, after)
        upto: Position | None = None
        if listing.bounded and (found := await self._fetch(listing.boundary())):
            upto = listing.position(found[0])
        rows = await self._fetch(listing.page(limit + 1, upto, payloads=payloads))
        timers = CODEC.timers(rows[:limit])
        return Page(timers, _position(rows[limit - 1], where.order) if len(rows) > limit else upto)

    async def counts(self, group_id: str) -> Counts:
        """See `Store.counts`. At most 10,000 index entries are read for each figure; above that the planner guesses."""
        *counted, oldest_due_at = (await self._connections.fetch(statements.COUNTS, group_id, EXACT + 1))[0]
        figures = dict(zip(_COUNTED, counted, strict=True))
        estimated = frozenset(name for name, count in figures.items() if count > EXACT)
        for name in estimated:
            [[plan]] = await self._connections.fetch(statements.ESTIMATES[name].format(group=_quoted(group_id)))
            figures[name] = max(EXACT + 1, int(orjson.loads(plan)[0]["Plan"]["Plan Rows"]))
        return Counts(**figures, oldest_due_at=oldest_due_at, estimated=estimated)

    async def _fetch(self, statement: sa.Select[Any]) -> list[Row]:
        text, values = compiled(statement)
        return await self._connections.fetch(text, *values)


def _position(row: Row, order: ListOrder) -> Position:
    """Where a page ends that ends with this row."""
    at = None if order is ListOrder.BY_ID else row[_DUE_AT if order is ListOrder.BY_DUE else _EXECUTED_AT]
    return Position(at, row[_TIMER_ID])


def _quoted(text: str) -> str:
    """A literal: EXPLAIN takes no parameters."""
    return "'" + text.replace("'", "''") + "'"
