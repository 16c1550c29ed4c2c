"""Creates: many rows an INSERT, and a second look at those that were there."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from functools import cache
from typing import Final

from durable_timer.errors import StoreFull, StoreUnavailable
from durable_timer.models.results import CreateResult, CreateStatus, IfExists
from durable_timer.models.timer import NewTimer, Suspension, Timer
from durable_timer.planning import transitions
from durable_timer.stores.sql.documents import instant_to_micros
from durable_timer.stores.sql.rows import TIMER_COLUMNS
from durable_timer.stores.sqlite.statements import CODEC, TIMER, portions, rewrite, rows_of
from durable_timer.stores.sqlite.transaction import Transaction

Request = tuple[Sequence[NewTimer], IfExists]

_PORTION: Final = 64
"""Rows of an INSERT at most. Each statement hands the interpreter's lock over: few and long ones disturb least."""


_PIECE: Final = 256
"""The weight of what a create writes in one transaction, for which others wait."""

_PAGE: Final = 4096
"""Bytes of a payload that weigh as much as a row."""


def weight(timers: Sequence[NewTimer]) -> int:
    """Roughly how many rows' worth of writing it is."""
    return sum(1 + len(new.payload or b"") // _PAGE for new in timers)


def pieces(timers: Sequence[NewTimer]) -> list[tuple[Sequence[NewTimer], int]]:
    """Cuts a large create where that keeps transactions short: pieces in order, each with its weight."""
    cut: list[tuple[Sequence[NewTimer], int]] = []
    begin = heavy = 0
    for end, new in enumerate(timers, 1):
        heavy += weight((new,))
        if heavy >= _PIECE or end == len(timers):
            cut.append((timers[begin:end], heavy))
            begin, heavy = end, 0
    return cut


def whole(made: Sequence[list[CreateResult] | BaseException]) -> list[CreateResult]:
    """The results of all pieces in order.

    Raises: what the pieces raised; StoreUnavailable where a part was written and a part found no room.
    """
    errors = [piece for piece in made if isinstance(piece, BaseException)]
    if errors and len(errors) < len(made) and all(isinstance(error, StoreFull) for error in errors):
        raise StoreUnavailable(f"no room for all: {errors[0]}") from errors[0]
    if errors:
        raise errors[0]
    return [result for piece in made if not isinstance(piece, BaseException) for result in piece]


@cache
def _insert(rows: int) -> str:
    row = f"({', '.join('?' * len(TIMER_COLUMNS))})"
    return f"INSERT INTO timers ({TIMER}) VALUES {', '.join([row] * rows)} ON CONFLICT DO NOTHING"


def create(transaction: Transaction, requests: Sequence[Request]) -> list[list[CreateResult]]:
    """Several creates as one: items act in order, those of an earlier request first."""
    items = [(new, if_exists) for timers, if_exists in requests for new in timers]
    uids = struct.unpack(f"<{len(items)}q", os.urandom(8 * len(items)))
    results: list[CreateResult] = []
    for begin, size in portions(len(items), _PORTION):
        results += _create_portion(transaction, items[begin : begin + size], uids[begin : begin + size])
    for result in results:
        if result.status in {CreateStatus.CREATED, CreateStatus.REPLACED}:
            _wake(transaction, result.timer)
    answers, begin = [], 0
    for timers, _ in requests:
        answers.append(results[begin : begin + len(timers)])
        begin += len(timers)
    return answers


def _create_portion(
    transaction: Transaction, items: Sequence[tuple[NewTimer, IfExists]], uids: Sequence[int]
) -> list[CreateResult]:
    now = transaction.now
    fresh = [transitions.created(new, uid=uid, now=now) for (new, _), uid in zip(items, uids, strict=True)]
    values = [value for row in fresh for value in CODEC.timer_row(row)]
    inserted = transaction.connection.execute(_insert(len(fresh)), values).rowcount
    if inserted == len(fresh):
        return [CreateResult(CreateStatus.CREATED, row) for row in fresh]
    present = _present(transaction, items)
    return [
        _over(transaction, present, row, new, if_exists) for row, (new, if_exists) in zip(fresh, items, strict=True)
    ]


def _present(transaction: Transaction, items: Sequence[tuple[NewTimer, IfExists]]) -> dict[tuple[str, str], Timer]:
    ids: dict[str, list[str]] = {}
    for new, _ in items:
        ids.setdefault(new.group_id, []).append(new.timer_id)
    return {
        (group_id, timer_id): row
        for group_id, timer_ids in ids.items()
        for timer_id, row in rows_of(transaction.connection, group_id, timer_ids).items()
    }


def _over(
    transaction: Transaction,
    present: dict[tuple[str, str], Timer],
    fresh: Timer,
    new: NewTimer,
    if_exists: IfExists,
) -> CreateResult:
    """What became of one item: its own row is known by its uid."""
    key = (new.group_id, new.timer_id)
    row = present[key]
    if row.uid == fresh.uid:
        return CreateResult(CreateStatus.CREATED, fresh)
    status, written = transitions.create_over(row, new, if_exists, transaction.now)
    if written is not row:
        rewrite(transaction.connection, written)
        present[key] = written
    return CreateResult(status, written)


def _wake(transaction: Transaction, row: Timer) -> None:
    if row.suspended is not Suspension.SUSPENDED:
        transaction.wake_if_soon(row.group_id, row.shard, instant_to_micros(row.due_at))
