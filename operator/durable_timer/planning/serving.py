"""How the groups of a pool are served, as members and shard rows say: whose shards, whose Secrets, how late."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from durable_timer.models.ownership import Member, Shard
from durable_timer.models.status import ExecutorState, ExecutorStatus


@dataclass(frozen=True, slots=True)
class Serving:
    """One group of a pool.

    `claimed` shards have an owner that lives or drains; `assigned` says whether all are claimed by the one they are
    assigned to. `living`: executors of the pool that neither are dead nor drain. `unreadable`: names of executors that
    cannot read a Secret of the group. `read_to`: up to which `change` all of them have read the groups. `lateness`: the highest p99 that one of them reports, in seconds, None without data.
    """

    executors: tuple[ExecutorStatus, ...] = ()
    claimed: int = 0
    total: int = 0
    assigned: bool = False
    living: int = 0
    unreadable: tuple[str, ...] = ()
    read_to: int = 0
    lateness: float | None = None


def serving(members: Sequence[Member], shards: Iterable[Shard]) -> dict[str, Serving]:
    """The groups that have shard rows in the pool, by id."""
    alive = {member.incarnation: member for member in members if not member.dead}
    living = [member for member in alive.values() if not member.draining]
    groups: defaultdict[str, list[Shard]] = defaultdict(list)
    for shard in shards:
        groups[shard.group_id].append(shard)
    unreadable = _unreadable(living)
    read_to = min((member.report.change for member in living), default=0)
    lateness = _lateness(alive.values())
    return {
        group_id: replace(
            _of_group(rows, alive),
            living=len(living),
            unreadable=unreadable.get(group_id, ()),
            read_to=read_to,
            lateness=lateness.get(group_id),
        )
        for group_id, rows in groups.items()
    }


def ranges(numbers: Iterable[int]) -> str:
    """Numbers as people write them: `0-3,8`."""
    texts: list[str] = []
    first = last = None
    for number in sorted(numbers):
        if first is None or last is None or number != last + 1:
            if first is not None:
                texts.append(_range(first, last))
            first = number
        last = number
    if first is not None:
        texts.append(_range(first, last))
    return ",".join(texts)


def _range(first: int, last: int | None) -> str:
    return str(first) if last is None or last == first else f"{first}-{last}"


def _of_group(rows: Sequence[Shard], alive: Mapping[str, Member]) -> Serving:
    owned: defaultdict[str, list[int]] = defaultdict(list)
    draining: set[str] = set()
    assigned = True
    for row in rows:
        owner = alive.get(row.owner) if row.owner is not None else None
        assigned = assigned and owner is not None and row.owner == row.assigned_to
        if owner is None:
            continue
        owned[owner.name].append(row.shard)
        if owner.draining:
            draining.add(owner.name)
    return Serving(
        executors=tuple(
            ExecutorStatus(
                name=name,
                state=ExecutorState.DRAINING if name in draining else ExecutorState.ACTIVE,
                shards=ranges(owned[name]),
            )
            for name in sorted(owned)
        ),
        claimed=sum(map(len, owned.values())),
        total=len(rows),
        assigned=assigned and bool(rows),
    )


def _unreadable(living: Iterable[Member]) -> dict[str, tuple[str, ...]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for member in living:
        for group_id in member.report.unreadable_secrets:
            found[group_id].append(member.name)
    return {group_id: tuple(sorted(names)) for group_id, names in found.items()}


def _lateness(alive: Iterable[Member]) -> dict[str, float]:
    highest: dict[str, float] = {}
    for member in alive:
        for group_id, seconds in member.report.lateness_p99.items():
            highest[group_id] = max(seconds, highest.get(group_id, 0.0))
    return highest
