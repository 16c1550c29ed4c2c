"""Pages of timers: one ordered walk along an index, or a few merged as far as the page goes."""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, NamedTuple

from durable_timer.models.page import ListOrder, Page, Position, TimerFilter
from durable_timer.models.timer import TimerState
from durable_timer.stores.sql.documents import instant_from_micros, instant_to_micros
from durable_timer.stores.sql.rows import STATE_CODES, TIMER_COLUMNS
from durable_timer.stores.sqlite.statements import CODEC, FIRST, LAST, QUEUED_SHARDS, TIMER, TIMER_BARE

_CODES: Final = {str(state): code for state, code in STATE_CODES.items()}
_AT: Final = {
    ListOrder.BY_DUE: TIMER_COLUMNS.index("due_at"),
    ListOrder.BY_EXECUTED: TIMER_COLUMNS.index("executed_at"),
}
_ID: Final = TIMER_COLUMNS.index("timer_id")
_NAMES: Final = {ListOrder.BY_DUE: "due_at", ListOrder.BY_EXECUTED: "executed_at"}


Key = tuple[int, str]
"""An instant in microseconds and a timer's id."""


class _Condition(NamedTuple):
    """Part of a WHERE, and its parameters in order."""

    text: str
    parameters: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class _Walk:
    """How a page goes along one index: `where` names the walk's part of it, `order` the columns."""

    order: ListOrder
    columns: str
    conditions: tuple[_Condition, ...]
    source: str = "timers"

    def rows(self, connection: sqlite3.Connection, after: Key, portion: int) -> Iterator[Any]:
        """Rows in order, read `portion` at a time as they are asked for."""
        while True:
            found = connection.execute(*self._statement(after, portion)).fetchall()
            yield from found
            if len(found) < portion:
                return
            after = self.key(found[-1])

    def key(self, row: Any) -> Key:
        """What rows are sorted by: an instant (0 by id) and the id."""
        return (0 if self.order is ListOrder.BY_ID else row[_AT[self.order]], row[_ID])

    def _statement(self, after: Key, portion: int) -> tuple[str, list[Any]]:
        if self.order is ListOrder.BY_ID:
            by, position = "timer_id", _Condition("timer_id > ?", (after[1],))
        else:
            by = f"{_NAMES[self.order]}, timer_id"
            position = _Condition(f"({by}) > (?, ?)", after)
        conditions = (*self.conditions, position)
        where = " AND ".join(condition.text for condition in conditions)
        parameters = [value for condition in conditions for value in condition.parameters]
        return f"SELECT {self.columns} FROM {self.source} WHERE {where} ORDER BY {by} LIMIT ?", [*parameters, portion]


def page(
    connection: sqlite3.Connection,
    group_id: str,
    where: TimerFilter,
    *,
    limit: int,
    after: Position | None,
    payloads: bool,
) -> Page:
    """See `stores.base.Store.list`."""
    walks = _walks(connection, group_id, where, TIMER if payloads else TIMER_BARE)
    begin = _begin(where, after)
    portion = min(limit + 1, 2 + 2 * limit // max(1, len(walks)))
    merged: Iterable[Any] = heapq.merge(
        *(walk.rows(connection, begin, portion) for walk in walks), key=walks[0].key if walks else None
    )
    found = list(islice(merged, limit + 1))
    timers = CODEC.timers(found[:limit])
    return Page(timers, _position(walks[0], found[limit - 1]) if len(found) > limit else None)


def _begin(where: TimerFilter, after: Position | None) -> Key:
    """What the page comes after; a position is never before the filter's own beginning."""
    if after is not None:
        return (0 if after.at is None else instant_to_micros(after.at), after.timer_id)
    return (FIRST if where.due_from is None else instant_to_micros(where.due_from), "")


def _position(walk: _Walk, row: Any) -> Position:
    at, timer_id = walk.key(row)
    return Position(None if walk.order is ListOrder.BY_ID else instant_from_micros(at), timer_id)


def _walks(connection: sqlite3.Connection, group_id: str, where: TimerFilter, columns: str) -> list[_Walk]:
    """The walks that together are the filter's rows, in its order."""
    in_group = _Condition("group_id = ?", (group_id,))
    rest = (in_group, *_conditions(where))
    order = where.order
    if order is ListOrder.BY_DUE:
        if where.states and TimerState.PENDING not in where.states:
            return []
        pending = _Condition("state = 0 AND suspended <> 1 AND shard = ?")
        shards = connection.execute(QUEUED_SHARDS, (group_id,)).fetchall()
        queued = [_Walk(order, columns, (*rest, pending._replace(parameters=shard))) for shard in shards]
        return [*queued, _Walk(order, columns, (*rest, _Condition("state = 0 AND suspended = 1")))]
    if order is ListOrder.BY_EXECUTED:
        codes = sorted(_CODES[state] for state in where.states)
        return [_Walk(order, columns, (*rest, _Condition(f"state = {code} AND state >= 2"))) for code in codes]
    if where.states == {TimerState.RUNNING}:
        running = _Condition("state = 1")
        return [_Walk(order, columns, (*rest, running), "timers INDEXED BY timers_running")]
    if where.states:
        codes = sorted(_CODES[state] for state in where.states)
        rest = (*rest, _Condition(f"+state IN ({', '.join(map(str, codes))})"))
    return [_Walk(order, columns, rest)]


def _conditions(where: TimerFilter) -> list[_Condition]:
    """All but the states and `due_from`, which is where a page begins."""
    found: list[_Condition] = []
    if where.due_before is not None:
        found.append(_Condition("due_at < ?", (instant_to_micros(where.due_before),)))
    if where.executed_before is not None or where.order is ListOrder.BY_EXECUTED:
        before = LAST if where.executed_before is None else instant_to_micros(where.executed_before)
        found.append(_Condition("executed_at < ?", (before,)))
    if where.id_prefix:
        end = where.id_prefix[:-1] + chr(ord(where.id_prefix[-1]) + 1)
        found.append(_Condition("timer_id >= ? AND timer_id < ?", (where.id_prefix, end)))
    found += [
        _Condition("EXISTS (SELECT 1 FROM json_each(timers.labels) WHERE key = ? AND value = ?)", label)
        for label in where.labels
    ]
    return found
