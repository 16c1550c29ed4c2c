"""Members, claims and the plan."""
# ruff: noqa: D103 - a function does what the method of its name in stores.base.Store says

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from durable_timer.models.group import GroupState
from durable_timer.models.ownership import Assignment, BeatAnswer, Claim, Drain, Member, MemberReport, Shard, ShardKey
from durable_timer.stores.base import DRAIN_KEPT
from durable_timer.stores.memory.database import MemberRow, MemoryDatabase
from durable_timer.stores.memory.engine import standing

DEAD_ROWS_KEPT = timedelta(minutes=10)


def join(db: MemoryDatabase, member: Member, *, exclusive: bool) -> None:
    if member.incarnation in db.members:
        return
    for row in db.members.values():
        if exclusive or (member.host is not None and row.member.host == member.host):
            _kill(db, row)
    db.members[member.incarnation] = MemberRow(replace(member, beat=0, dead=False))


def beat(
    db: MemoryDatabase, incarnation: str, counter: int, *, draining: bool, report: MemberReport | None
) -> BeatAnswer | None:
    row = db.members.get(incarnation)
    if row is None or row.member.dead:
        return None
    late = counter < row.member.beat
    row.member = replace(
        row.member,
        beat=max(counter, row.member.beat),
        draining=draining or row.member.draining,
        report=row.member.report if late or report is None else report,
    )
    return BeatAnswer(db.shards_token(row.member.pool), tuple(members(db, row.member.pool)))


def declare_dead(db: MemoryDatabase, incarnation: str, counter_seen: int) -> bool:
    row = db.members.get(incarnation)
    if row is None:
        return True
    if row.member.beat == counter_seen:
        _kill(db, row)
    return row.member.dead


def leave(db: MemoryDatabase, incarnation: str) -> None:
    db.members.pop(incarnation, None)
    forgotten = db.now() - DEAD_ROWS_KEPT
    old = [key for key, row in db.members.items() if row.dead_since is not None and row.dead_since < forgotten]
    for key in old:
        del db.members[key]


def members(db: MemoryDatabase, pool: str) -> list[Member]:
    return [row.member for row in db.members.values() if row.member.pool == pool]


def shards(db: MemoryDatabase, pool: str) -> tuple[list[Shard], str]:
    rows = [row for row in db.shards.values() if db.groups[row.group_id].pool == pool and _listed(db, row)]
    return sorted(rows, key=lambda row: row.key), db.shards_token(pool)


def claim(db: MemoryDatabase, claims: Sequence[Claim], me: str) -> list[int | None]:
    return [_claim(db, item, me) for item in claims]


def release(db: MemoryDatabase, claims: Sequence[Claim], me: str, until: timedelta) -> list[bool]:
    owned = standing(db, claims, me)
    for row in owned.values():
        drain = Drain(row.epoch, me, db.now() + until)
        db.put_shard(replace(row, owner=None, drains=(*row.drains, drain)))
        db.wake(row.group_id, [row.shard])
    released = {(row.key, row.epoch) for row in owned.values()}
    return [(ShardKey(item.group_id, item.shard), item.epoch) in released for item in claims]


def raise_term(db: MemoryDatabase, pool: str) -> int:
    term = db.terms[pool] = db.terms.get(pool, 0) + 1
    for row in list(db.shards.values()):
        if db.groups[row.group_id].pool == pool:
            db.put_shard(replace(row, plan_term=term))
    return term


def assign(db: MemoryDatabase, pool: str, term: int, assignments: Sequence[Assignment]) -> int:
    changed = 0
    for group_id, number, assigned_to in assignments:
        row = db.shards.get(ShardKey(group_id, number))
        if row is None or db.groups[group_id].pool != pool or row.plan_term > term or row.assigned_to == assigned_to:
            continue
        db.put_shard(replace(row, assigned_to=assigned_to, plan_term=term))
        changed += 1
    return changed


def _kill(db: MemoryDatabase, row: MemberRow) -> None:
    if not row.member.dead:
        row.member = replace(row.member, dead=True)
        row.dead_since = db.now()


def _listed(db: MemoryDatabase, row: Shard) -> bool:
    group = db.groups[row.group_id]
    return row.owner is not None or (group.state is GroupState.ACTIVE and row.shard < group.shards)


def _claim(db: MemoryDatabase, item: Claim, me: str) -> int | None:
    row = db.shards.get(ShardKey(item.group_id, item.shard))
    if row is None or row.epoch != item.epoch or not db.living(me):
        return None
    if row.owner is not None and row.owner != me and db.living(row.owner):
        return None
    now = db.now()
    drains = tuple(drain for drain in row.drains if drain.until >= now - DRAIN_KEPT)
    db.put_shard(replace(row, epoch=row.epoch + 1, owner=me, drains=drains))
    return row.epoch + 1
