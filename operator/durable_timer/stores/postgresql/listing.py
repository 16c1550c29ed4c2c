"""Pages of timers, in SQLAlchemy Core: which rows, in which order, and how far a page looks.

An order is read from indexes whose order it is. Where several hold its rows (one for each shard, one for each state),
each part answers as many keys as the page holds, and they are merged. What a filter asks for beyond that order (labels,
other states, a prefix within a list by time) is tested row by row; so that such a page's cost is bounded too, it ends
after about `SCAN` rows at the latest, short or empty, and says where the next one begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg

from durable_timer.models.page import ListOrder, Position, TimerFilter
from durable_timer.models.timer import TimerState
from durable_timer.stores.sql import documents
from durable_timer.stores.sql.rows import STATE_CODES, TIMER_COLUMNS
from durable_timer.stores.sql.tables import shards, timers

SCAN: Final = 20_000
"""Rows that a page tests against a filter which no index answers."""

Condition = sa.ColumnElement[bool]

_DIALECT: Final = PGDialect_asyncpg()  # type: ignore[no-untyped-call]
_KEYS: Final = {
    ListOrder.BY_ID: ("timer_id",),
    ListOrder.BY_DUE: ("due_at", "timer_id"),
    ListOrder.BY_EXECUTED: ("executed_at", "timer_id"),
}


def compiled(statement: sa.Select[Any]) -> tuple[str, list[Any]]:
    """The statement as asyncpg takes it: text with numbered parameters, and their values."""
    made = statement.compile(dialect=_DIALECT)
    return str(made), [made.params[name] for name in made.positiontup or ()]


class Listing:
    """The statements of one page of a group: `boundary` first where `bounded`, then `page`."""

    def __init__(self, group_id: str, where: TimerFilter, after: Position | None) -> None:
        self._where = where
        self._after = after
        self._group = timers.c.group_id == group_id
        self._shards = sa.select(shards.c.shard).where(shards.c.group_id == group_id).subquery("s")
        self._keys = _KEYS[where.order]
        self._filters = self._beyond_order()
        self._parts = self._sources()

    @property
    def bounded(self) -> bool:
        """Whether rows are read that the page may not hold."""
        return bool(self._filters)

    def boundary(self) -> sa.Select[Any]:
        """The key up to which the page looks; no row where it may look at all that is left.

        The least of the keys that the parts have at their share of `SCAN`: so many rows at most lie before it.
        """
        share = SCAN // len(self._parts)
        return _merged([part.nth(self._range(None), share, self._keys) for part in self._parts], self._keys, 1)

    def position(self, row: Sequence[Any]) -> Position:
        """The position of a row of `boundary`."""
        return Position(None if len(self._keys) == 1 else row[0], row[-1])

    def page(self, limit: int, upto: Position | None, *, payloads: bool) -> sa.Select[Any]:
        """TIMER_COLUMNS of `limit` rows in order, none beyond `upto`."""
        conditions = [*self._range(upto), *self._filters]
        parts = [part.first(conditions, limit, self._keys) for part in self._parts]
        found = _merged(parts, self._keys, limit).subquery("k")
        columns = [
            timers.c[name] if payloads or name != "payload" else sa.cast(sa.null(), sa.LargeBinary).label("payload")
            for name in TIMER_COLUMNS
        ]
        return (
            sa.select(*columns)
            .select_from(found.join(timers, timers.c.timer_id == found.c.timer_id))
            .where(self._group)
            .order_by(*(found.c[key] for key in self._keys))
        )

    def _range(self, upto: Position | None) -> list[Condition]:
        """What bounds the keys, and is answered by the order's indexes."""
        where = self._where
        conditions: list[Condition] = [self._group]
        if where.order is ListOrder.BY_ID and where.id_prefix:
            conditions += _prefixed(where.id_prefix)
        if where.due_from is not None:
            conditions.append(timers.c.due_at >= where.due_from)
        if where.due_before is not None:
            conditions.append(timers.c.due_at < where.due_before)
        if where.order is ListOrder.BY_EXECUTED and where.executed_before is not None:
            conditions.append(timers.c.executed_at < where.executed_before)
        columns = [timers.c[key] for key in self._keys]
        if self._after is not None:
            conditions.append(sa.tuple_(*columns) > self._place(self._after))
        if upto is not None:
            conditions.append(sa.tuple_(*columns) <= self._place(upto))
        return conditions

    def _place(self, position: Position) -> sa.ColumnElement[Any]:
        values = (position.timer_id,) if len(self._keys) == 1 else (position.at, position.timer_id)
        return sa.tuple_(
            *(sa.bindparam(None, value, timers.c[key].type) for key, value in zip(self._keys, values, strict=True))
        )

    def _beyond_order(self) -> list[Condition]:
        """What no index answers in this order."""
        where, order = self._where, self._where.order
        conditions: list[Condition] = []
        if order is ListOrder.BY_ID and where.states and where.states != {TimerState.RUNNING}:
            conditions.append(sa.or_(*(_state(state) for state in sorted(where.states))))
        if order is ListOrder.BY_DUE and where.states and TimerState.PENDING not in where.states:
            conditions.append(sa.false())
        if order is not ListOrder.BY_ID and where.id_prefix:
            conditions += _prefixed(where.id_prefix)
        if order is not ListOrder.BY_EXECUTED and where.executed_before is not None:
            conditions.append(timers.c.executed_at < where.executed_before)
        if where.labels:
            asked = sa.bindparam("labels", documents.labels_to_json(dict(where.labels)), sa.Text())
            conditions.append(timers.c.labels.op("@>", is_comparison=True)(sa.cast(asked, JSONB)))
        return conditions

    def _sources(self) -> tuple[_Part, ...]:
        where = self._where
        if where.order is ListOrder.BY_DUE:
            pending = _state(TimerState.PENDING)
            suspended = _number(1)
            return (
                _Part([pending, timers.c.suspended != suspended], self._shards),
                _Part([pending, timers.c.suspended == suspended]),
            )
        if where.order is ListOrder.BY_EXECUTED:
            return tuple(_Part([_state(state)]) for state in sorted(where.states))
        if where.states == {TimerState.RUNNING}:
            return (_Part([_state(TimerState.RUNNING)], self._shards),)
        return (_Part([]),)


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows that one index has in the page's order, or has so for each of these shards."""

    conditions: list[Condition]
    shards: sa.Subquery | None = None

    def first(self, conditions: Sequence[Condition], limit: int, keys: Sequence[str]) -> sa.Select[Any]:
        """The first `limit` keys (of each shard)."""
        return self._by_shard(self._select(conditions, keys).limit(_number(limit)), keys)

    def nth(self, conditions: Sequence[Condition], limit: int, keys: Sequence[str]) -> sa.Select[Any]:
        """The `limit`-th key, if there are so many; of several shards each one's, at an equal share of `limit`."""
        offset: sa.ColumnElement[int] = _number(limit - 1)
        if self.shards is not None:
            count = sa.select(sa.func.count()).select_from(self.shards.alias()).scalar_subquery()
            offset = sa.func.greatest(_number(limit) / count - 1, 0)
        return self._by_shard(self._select(conditions, keys).offset(offset).limit(_number(1)), keys)

    def _select(self, conditions: Sequence[Condition], keys: Sequence[str]) -> sa.Select[Any]:
        columns = [timers.c[key] for key in keys]
        found = sa.select(*columns).where(*conditions, *self.conditions).order_by(*columns)
        return found if self.shards is None else found.where(timers.c.shard == self.shards.c.shard)

    def _by_shard(self, found: sa.Select[Any], keys: Sequence[str]) -> sa.Select[Any]:
        if self.shards is None:
            return found
        lateral = found.correlate(self.shards).lateral("t")
        return sa.select(*(lateral.c[key] for key in keys)).select_from(self.shards.join(lateral, sa.true()))


def _merged(parts: Sequence[sa.Select[Any]], keys: Sequence[str], limit: int) -> sa.Select[Any]:
    rows = sa.union_all(*(sa.select(part.subquery()) for part in parts)).subquery("u")
    columns = [rows.c[key] for key in keys]
    return sa.select(*columns).order_by(*columns).limit(_number(limit))


def _number(value: int) -> sa.ColumnElement[int]:
    """Written out, as plans depend on it."""
    return sa.literal_column(str(int(value)), sa.Integer())


def _state(state: TimerState) -> Condition:
    """Written out, as the partial indexes have it."""
    return timers.c.state == sa.literal_column(str(STATE_CODES[state]))


def _prefixed(prefix: str) -> list[Condition]:
    """A range of ids: they are ASCII and sort as bytes."""
    end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
    return [timers.c.timer_id >= prefix, timers.c.timer_id < end]
