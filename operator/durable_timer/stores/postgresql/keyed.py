"""Rows by their keys: read, locked, and written again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Final, Protocol

from durable_timer.models.ownership import Claim
from durable_timer.models.timer import Timer
from durable_timer.stores.postgresql import statements
from durable_timer.stores.postgresql.connections import Connection, Connections
from durable_timer.stores.sql.rows import TIMER_COLUMNS, RowCodec

Key = tuple[str, str]
"""Group id and timer id."""

CODEC: Final = RowCodec()
_MOVED: Final = tuple(TIMER_COLUMNS.index(name) for name in statements.MOVED)


class Keyed(Protocol):
    """What has a timer's key."""

    group_id: str
    timer_id: str


def key_of(timer: Keyed) -> Key:
    """The key by which a timer's row is found, and in whose order rows are locked (as bytes: ids are ASCII)."""
    return timer.group_id, timer.timer_id


async def read_rows(connections: Connections, keys: Sequence[Key]) -> dict[Key, Timer]:
    """The rows that are there, of sorted keys."""
    rows: dict[Key, Timer] = {}
    for group_id, members in groupby(keys, key=lambda key: key[0]):
        for row in await connections.fetch(statements.GET, group_id, [timer_id for _, timer_id in members]):
            timer = CODEC.timer(row)
            rows[key_of(timer)] = timer
    return rows


async def lock_rows(connection: Connection, keys: Sequence[Key]) -> tuple[dict[Key, Timer], datetime | None]:
    """The rows that are there, of sorted keys, locked until the transaction ends; and the store's now, if any is."""
    rows: dict[Key, Timer] = {}
    now: datetime | None = None
    for group_id, members in groupby(keys, key=lambda key: key[0]):
        for at, *row in await connection.fetch(statements.LOCK, group_id, [timer_id for _, timer_id in members]):
            now = at
            timer = CODEC.timer(row)
            rows[key_of(timer)] = timer
    return rows, now


async def write_rows(connection: Connection, timers: Iterable[Timer]) -> None:
    """Writes rows whole, which the transaction has locked."""
    rows = [CODEC.timer_row(timer) for timer in timers]
    if rows:
        await connection.execute(statements.WRITE, *zip(*rows, strict=True))


async def move_rows(connection: Connection, timers: Iterable[Timer]) -> None:
    """Writes of rows, which the transaction has locked, all that run, redrive and a stop change."""
    rows = [_moved(CODEC.timer_row(timer)) for timer in timers]
    if rows:
        await connection.execute(statements.MOVE, *zip(*rows, strict=True))


def claim_columns(claims: Sequence[Claim]) -> tuple[list[str], list[int], list[int]]:
    """Claims as arrays."""
    return [claim.group_id for claim in claims], [claim.shard for claim in claims], [claim.epoch for claim in claims]


def _moved(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(row[place] for place in _MOVED)
