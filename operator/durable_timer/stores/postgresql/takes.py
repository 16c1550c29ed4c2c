"""The engine's calls: take, settle, sweep, retention."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from durable_timer.models.outcome import Outcome
from durable_timer.models.ownership import Claim
from durable_timer.models.timer import TakenTimer
from durable_timer.stores.base import DRAINED_LATELY, PASSED_BY, Swept, TakeGroup, Taken
from durable_timer.stores.postgresql import statements
from durable_timer.stores.postgresql.connections import Connections
from durable_timer.stores.postgresql.keyed import CODEC, claim_columns
from durable_timer.stores.sql import documents
from durable_timer.stores.sql.rows import OUTCOME_CODES, TAKEN_COLUMNS

_VALUES: Final = len(TAKEN_COLUMNS) + 3
_LEAST_IN_SHARD: Final = 8
_ROUNDS: Final = 2


class Takes:
    """`take_due`, `settle`, `sweep` and `purge` of `Store`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def take_due(self, groups: Sequence[TakeGroup], me: str, ahead: timedelta, run: int) -> Taken:
        """See `Store.take_due`. At most twice limit ÷ shards (at least 8) of a shard."""
        # In key order: the shard rows are locked so, as by claims and releases.
        named = sorted(
            (group.group_id, shard.shard, place, index, shard)
            for place, group in enumerate(groups)
            for index, shard in enumerate(group.shards)
        )
        group_ids, numbers, parts, _, shards = tuple(zip(*named, strict=True)) or ((),) * 5
        most = [max(_LEAST_IN_SHARD, -(-2 * group.limit // max(1, len(group.shards)))) for group in groups]
        head, *rows = await self._connections.fetch(
            statements.TAKE,
            group_ids,
            numbers,
            [shard.epoch for shard in shards],
            [shard.floor for shard in shards],
            [most[part] for part in parts],
            parts,
            [groups[part].limit for part in parts],
            me,
            ahead,
            run,
        )
        timers = [CODEC.taken(row) for row in rows]
        timers.sort(key=lambda timer: timer.due_at)
        now, places, next_due, chosen = head[_VALUES:]
        if len(timers) < sum(chosen or ()):
            _count_missed([named[place] for place in places], chosen, timers, next_due)
        answer: list[list[float | None]] = [[None] * len(group.shards) for group in groups]
        for place, seconds in zip(places or (), next_due or (), strict=True):
            _, _, part, index, *_ = named[place]
            answer[part][index] = seconds
        return Taken(timers, answer, now)

    async def settle(self, outcomes: Sequence[Outcome]) -> list[bool]:
        """See `Store.settle`. One statement for a batch that leaves no row behind, or deletes all its rows.

        An outcome that the first statement does not apply has no such run, or a row that is to go (or is not, after
        all); the second statement tells. Each outcome stands for itself, so no transaction spans them.
        """
        applied = [False] * len(outcomes)
        keys = [(outcome.group_id, outcome.timer_id) for outcome in outcomes]
        waiting = sorted(range(len(outcomes)), key=keys.__getitem__)
        forgotten = bool(waiting) and all(outcome.forget for outcome in outcomes)
        order = (
            (statements.SETTLE_GONE, statements.SETTLE) if forgotten else (statements.SETTLE, statements.SETTLE_GONE)
        )
        for statement in order * _ROUNDS:
            if not waiting:
                break
            [[done]] = await self._connections.fetch(statement, *_columns([outcomes[place] for place in waiting]))
            settled = waiting if done is None else [waiting[place] for place in done]
            for place in settled:
                applied[place] = True
            waiting = [place for place in waiting if not applied[place]]
        return applied

    async def sweep(
        self,
        claims: Sequence[Claim],
        me: str,
        held: Collection[int],
        own_age: timedelta,
        limit: int,
        within: timedelta | None = None,
        *,
        drains_over: datetime | None,
    ) -> Swept:
        """See `Store.sweep`."""
        *kept, (_, _, cancelled, found) = await self._connections.fetch(
            statements.SWEEP,
            *claim_columns(claims),
            me,
            list(held),
            own_age,
            limit,
            within,
            DRAINED_LATELY,
            drains_over,
        )
        return Swept({(group_id, shard): count for group_id, shard, count, _ in kept}, cancelled, found)

    async def purge(self, group_id: str, completed_for: timedelta, failed_for: timedelta, limit: int) -> int:
        """See `Store.purge`."""
        [[gone]] = await self._connections.fetch(statements.PURGE_COMPLETED, group_id, completed_for, limit)
        if gone < limit:
            [[failed]] = await self._connections.fetch(statements.PURGE_FAILED, group_id, failed_for, limit - gone)
            gone += failed
        return int(gone)


def _count_missed(
    named: Sequence[tuple[Any, ...]], chosen: Sequence[int], timers: Sequence[TakenTimer], next_due: list[float | None]
) -> None:
    """A timer that was chosen and not taken (another writer has it) may be due still: its shard says so."""
    taken = Counter((timer.group_id, timer.shard) for timer in timers)
    for place, (group_id, shard, *_) in enumerate(named):
        if taken[group_id, shard] < chosen[place]:
            next_due[place] = PASSED_BY


def _columns(outcomes: Sequence[Outcome]) -> list[Sequence[Any]]:
    """The arrays of SETTLE and SETTLE_GONE; one that says nothing is left empty, since each value costs at both ends.

    `unnest` fills it up with NULLs (https://www.postgresql.org/docs/current/functions-array.html). PostgreSQL's text
    holds no NUL, which an error's text may have.
    """
    errors = [outcome.last_error for outcome in outcomes]
    return [
        [outcome.group_id for outcome in outcomes],
        [outcome.timer_id for outcome in outcomes],
        [outcome.run for outcome in outcomes],
        [OUTCOME_CODES[outcome.kind] for outcome in outcomes],
        [outcome.attempt for outcome in outcomes],
        [documents.to_micros(outcome.began) for outcome in outcomes],
        _said([documents.to_micros(outcome.delay) if outcome.delay else None for outcome in outcomes]),
        _said([outcome.at for outcome in outcomes]),
        _said([_last_outcome(outcome) for outcome in outcomes]),
        _said([None if error is None else error.replace("\0", "\ufffd") for error in errors]),
        [outcome.last_status for outcome in outcomes],
        _said([outcome.forget or None for outcome in outcomes]),
    ]


def _last_outcome(outcome: Outcome) -> str | None:
    """None where the outcome's kind says it already."""
    last = outcome.last_outcome
    return None if last is None or last.value == outcome.kind.value else last.value


def _said(column: list[Any]) -> list[Any]:
    return [] if column.count(None) == len(column) else column
