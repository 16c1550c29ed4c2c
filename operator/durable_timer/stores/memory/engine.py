"""What executors do to timers: take, settle, sweep."""
# ruff: noqa: D103 - a function does what the method of its name in stores.base.Store says

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from itertools import islice

from durable_timer.models.outcome import Outcome
from durable_timer.models.ownership import Claim, Shard, ShardKey
from durable_timer.models.results import Refusal
from durable_timer.models.timer import TakenTimer, Timer, TimerState
from durable_timer.planning import transitions
from durable_timer.stores.base import DRAINED_LATELY, NEXT_DUE_WITHIN, Swept, TakeGroup, Taken, TakeShard
from durable_timer.stores.memory.database import Due, MemoryDatabase

LEAST_OF_A_SHARD = 8
"""A take may bring at least so many of each shard, however many it names."""


def standing(db: MemoryDatabase, claims: Sequence[Claim], me: str) -> dict[ShardKey, Shard]:
    """The shards that `me` owns under the claims' epochs."""
    rows = ((claim, db.shards.get(ShardKey(claim.group_id, claim.shard))) for claim in claims)
    return {row.key: row for claim, row in rows if row and row.epoch == claim.epoch and row.owner == me}


def claims_of(groups: Sequence[TakeGroup]) -> list[Claim]:
    """The claims under which a take asks."""
    return [Claim(group.group_id, shard.shard, shard.epoch) for group in groups for shard in group.shards]


def take(
    db: MemoryDatabase, groups: Sequence[TakeGroup], owned: Collection[ShardKey], ahead: timedelta, run: int
) -> Taken:
    """Takes for the claims that stood when the take began (`owned`), whether or not they still stand."""
    now = db.now()
    timers = [
        _take_row(db, row, shard.epoch, run, now)
        for group in groups
        for row, shard in _candidates(db, group, owned, now + ahead)
    ]
    near = ahead + NEXT_DUE_WITHIN
    next_due = [[_next_due(db, group.group_id, shard, owned, now, near) for shard in group.shards] for group in groups]
    return Taken(timers=timers, next_due=next_due, now=now)


def settle(db: MemoryDatabase, outcomes: Sequence[Outcome]) -> list[bool]:
    now = db.now()
    return [_settle(db, outcome, now) for outcome in outcomes]


def sweep(
    db: MemoryDatabase,
    claims: Sequence[Claim],
    me: str,
    held: Collection[int],
    own_age: timedelta,
    within: timedelta | None,
    *,
    limit: int,
    drains_over: datetime | None,
) -> Swept:
    now = db.now()
    owned = standing(db, claims, me)
    lost = [
        row
        for group_id in dict.fromkeys(key.group_id for key in owned)
        for row in db.rows(group_id)
        if row.state is TimerState.RUNNING
        and row.run not in held
        and (shard := owned.get(ShardKey(row.group_id, row.shard))) is not None
        and (within is None or now - row.updated_at <= within or _drained_lately(shard, drains_over))
        and _is_lost(db, row, shard, now, own_age, drains_over=drains_over)
    ]
    recovered: dict[tuple[str, int], int] = {}
    cancelled = 0
    chosen = lost[:limit]
    for row in chosen:
        pending = transitions.recovered(row, now)
        if pending is None:
            db.remove(row)
            cancelled += 1
        else:
            db.put(pending)
            recovered[row.group_id, row.shard] = recovered.get((row.group_id, row.shard), 0) + 1
    return Swept(recovered, cancelled, len(chosen))


def _candidates(
    db: MemoryDatabase, group: TakeGroup, owned: Collection[ShardKey], until: datetime
) -> list[tuple[Timer, TakeShard]]:
    """At most `group.limit` rows, oldest first, each shard bounded so that one with a backlog leaves room to others."""
    a_shard = max(LEAST_OF_A_SHARD, 2 * group.limit // max(1, len(group.shards)))
    found: list[tuple[Due, TakeShard]] = []
    for shard in group.shards:
        key = ShardKey(group.group_id, shard.shard)
        if key in owned:
            entries = islice(db.due(key, shard.floor), min(a_shard, group.limit))
            found += [(entry, shard) for entry in entries if entry.due_at <= until]
    found.sort(key=lambda item: item[0])
    rows = db.timers.get(group.group_id, {})
    return [(rows[entry.timer_id], shard) for entry, shard in found[: group.limit]]


def _take_row(db: MemoryDatabase, row: Timer, epoch: int, run: int, now: datetime) -> TakenTimer:
    db.put(transitions.taken(row, run=run, epoch=epoch, now=now))
    age = None if row.first_attempt_at is None else (now - row.first_attempt_at).total_seconds()
    return TakenTimer(
        group_id=row.group_id,
        timer_id=row.timer_id,
        shard=row.shard,
        run=run,
        uid=row.uid,
        occurrence=row.occurrence,
        attempt=row.attempt,
        execute_at=row.execute_at,
        due_at=row.due_at,
        remaining=(row.due_at - now).total_seconds(),
        callback_url=row.callback_url,
        first_attempt_age=age,
        deadline_exceeded=transitions.deadline_exceeded(row, now),
        callback_method=row.callback_method,
        callback_format=row.callback_format,
        content_type=row.content_type,
        payload=row.payload,
        headers=row.headers,
        labels=row.labels,
        retry_policy=row.retry_policy,
        callback_timeout=row.callback_timeout,
        schedule=row.schedule,
        traceparent=row.traceparent,
    )


def _next_due(
    db: MemoryDatabase, group_id: str, shard: TakeShard, owned: Collection[ShardKey], now: datetime, near: timedelta
) -> float | None:
    key = ShardKey(group_id, shard.shard)
    entry = next(db.due(key, shard.floor), None) if key in owned else None
    return None if entry is None or entry.due_at > now + near else (entry.due_at - now).total_seconds()


def _settle(db: MemoryDatabase, outcome: Outcome, now: datetime) -> bool:
    row = db.timer(outcome.group_id, outcome.timer_id)
    settled = transitions.settled(row, outcome, now)
    if isinstance(settled, Refusal) or row is None:
        return False
    if settled is None:
        db.remove(row)
    else:
        db.put(settled)
    return True


def _drained_lately(shard: Shard, drains_over: datetime | None) -> bool:
    return any(drains_over is None or drain.until > drains_over - DRAINED_LATELY for drain in shard.drains)


def _is_lost(
    db: MemoryDatabase, row: Timer, shard: Shard, now: datetime, own_age: timedelta, *, drains_over: datetime | None
) -> bool:
    if row.taken_epoch is None or row.taken_at is None:
        return False
    if row.taken_epoch == shard.epoch:
        return now - row.updated_at > own_age
    return row.taken_epoch < shard.epoch and not any(
        drain.epoch == row.taken_epoch
        and (drains_over is None or drain.until >= drains_over)
        and db.living(drain.incarnation)
        for drain in shard.drains
    )
