"""What the statements share: columns in the codec's order, reading rows by key, and writing one whole."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import orjson

from durable_timer.models.timer import Timer
from durable_timer.stores.sql.documents import instant_from_micros, instant_to_micros
from durable_timer.stores.sql.rows import TIMER_COLUMNS, RowCodec

CODEC: Final = RowCodec(instant_from_micros, instant_to_micros)
"""Rows whose times are microseconds since 1970."""

TIMER: Final = ", ".join(TIMER_COLUMNS)
"""All columns of a timer, as `CODEC.timer` reads them."""

TIMER_BARE: Final = ", ".join("NULL" if column == "payload" else column for column in TIMER_COLUMNS)
"""The same with no payload."""

QUEUED_SHARDS: Final = """
    WITH RECURSIVE found(shard) AS (
        SELECT min(shard) FROM timers WHERE group_id = ?1 AND state = 0 AND suspended <> 1
        UNION ALL
        SELECT (SELECT min(shard) FROM timers
                WHERE group_id = ?1 AND shard > found.shard AND state = 0 AND suspended <> 1)
        FROM found WHERE found.shard IS NOT NULL
    )
    SELECT shard FROM found WHERE shard IS NOT NULL
"""
"""The shards with something in the queue: one probe of the due index each."""

FIRST: Final = -(2**63)
LAST: Final = 2**63 - 1
"""Before and after all instants. Finished rows are always asked for between two: without statistics, SQLite takes the
index's `state >= 2` for a better way in than `state = ?`, unless a range follows that."""

_KEYS: Final = 2
_REWRITE: Final = (
    f"UPDATE timers SET {', '.join(f'{column} = ?' for column in TIMER_COLUMNS[_KEYS:])} "
    "WHERE group_id = ? AND timer_id = ?"
)
_BY_ID: Final = f"SELECT {TIMER} FROM timers WHERE group_id = ? AND timer_id IN (SELECT value FROM json_each(?))"


def json(value: object) -> str:
    """A document for a statement's `json_each`; named tuples are lists."""
    return orjson.dumps(value, default=tuple).decode()


def rows_of(connection: sqlite3.Connection, group_id: str, timer_ids: Sequence[str]) -> dict[str, Timer]:
    """The rows that are there, by id."""
    if len(timer_ids) == 1:
        found = connection.execute(
            f"SELECT {TIMER} FROM timers WHERE group_id = ? AND timer_id = ?", (group_id, timer_ids[0])
        )
    else:
        found = connection.execute(_BY_ID, (group_id, json(timer_ids)))
    rows = map(CODEC.timer, found.fetchall())
    return {row.timer_id: row for row in rows}


def rewrite(connection: sqlite3.Connection, row: Timer) -> None:
    """Writes a row that is there, whole."""
    values = CODEC.timer_row(row)
    connection.execute(_REWRITE, (*values[_KEYS:], *values[:_KEYS]))


def value(connection: sqlite3.Connection, statement: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> Any:
    """The first column of the first row, None where there is no row."""
    row = connection.execute(statement, parameters).fetchone()
    return None if row is None else row[0]


def portions(count: int, most: int) -> Iterator[tuple[int, int]]:
    """Cuts `count` items into few pieces whose sizes are powers of two up to `most`: (begin, size).

    So a handful of prepared statements serves every count.
    """
    begin, size = 0, most
    while begin < count:
        while size > count - begin:
            size //= 2
        yield begin, size
        begin += size


def delete_rows(connection: sqlite3.Connection, rowids: Iterable[int]) -> int:
    """Deletes rows by rowid; how many there were."""
    return connection.execute(
        "DELETE FROM timers WHERE rowid IN (SELECT value FROM json_each(?))", (json(list(rowids)),)
    ).rowcount
