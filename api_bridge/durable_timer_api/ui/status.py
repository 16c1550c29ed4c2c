"""What `/ui/status` answers: a page of groups, their pools' members and, where asked for, one group's shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from durable_timer import __version__
from durable_timer.clock import Clock
from durable_timer.models.durations import format_duration
from durable_timer.models.instants import format_instant
from durable_timer.models.ownership import Member
from durable_timer.models.status import ExecutorState
from durable_timer.planning.conditions import Finding
from durable_timer.planning.serving import Serving
from durable_timer_api.groups_cache import GroupsCache, ServedGroup
from durable_timer_api.handlers.groups import counts_json
from durable_timer_api.ui.conditions import group_conditions, needs_attention
from durable_timer_api.ui.counting import Counting
from durable_timer_api.ui.paced import Paced
from durable_timer_api.ui.pools import PoolKey, Pools, PoolView

ROWS: Final = 50
"""Groups of one page."""

MEMBERS: Final = 200
"""Members shown, of all pools together."""

OWNERS: Final = 16
"""Executors shown beside a group; `owned` counts the shards of all."""

LOOKS: Final = 32
"""Answers kept until the next reading, for others who look at the same."""

PATIENCE: Final = 1.0
"""Seconds that a request waits for the stores before it is answered with what was read last."""


class Look(NamedTuple):
    """What somebody looks at: groups whose id or owner has `search` in it, page `page` (from 1), one group's shards."""

    search: str
    attention: bool
    page: int
    group_id: str


class _Row(NamedTuple):
    served: ServedGroup
    pool: PoolView | None
    serving: Serving | None
    conditions: Sequence[Finding]
    attention: bool


class Status:
    """Answers looks. What it costs the stores does not depend on how many look; `close` it at the end."""

    def __init__(self, groups: GroupsCache, clock: Clock) -> None:
        self._groups = groups
        self._pools = Pools(groups, clock)
        self._counting = Counting(clock)
        self._reading = Paced(self._read, clock)
        self._counts = Paced(self._count, clock)
        self._rows: Sequence[_Row] = ()
        self._answers: dict[Look, dict[str, object]] = {}

    async def close(self) -> None:
        """Ends what is under way."""
        await self._reading.close()
        await self._counts.close()

    async def look(self, look: Look) -> dict[str, object]:
        """The answer, as api.yaml's `Status` describes it; not to be changed."""
        await self._reading.turn(PATIENCE)
        matching = [row for row in self._rows if _matches(row, look)]
        pages = max(1, -(-len(matching) // ROWS))
        page = min(look.page, pages)
        shown = matching[(page - 1) * ROWS : page * ROWS]
        picked = next((row for row in self._rows if row.served.group.group_id == look.group_id), None)
        self._counting.want([row.served for row in shown] + ([] if picked is None else [picked.served]))
        await self._counts.turn(PATIENCE)
        answer = self._answers.get(look)
        if answer is None:
            numbers = {"matching": len(matching), "page": page, "pages": pages}
            answer = self._answer(shown, picked, numbers)
            if len(self._answers) < LOOKS:
                self._answers[look] = answer
        return answer

    def _answer(self, shown: Sequence[_Row], picked: _Row | None, numbers: dict[str, int]) -> dict[str, object]:
        members = [(key, view, member) for key, view in self._pools.views.items() for member in view.members]
        return {
            "version": __version__,
            "stores": [{"name": door.name, "reachable": self._groups.is_fresh_at(door)} for door in self._groups.doors],
            "total": len(self._rows),
            "attention": sum(row.attention for row in self._rows),
            **numbers,
            "groups": [self._row_json(row) for row in shown],
            "picked": None if picked is None else {**self._row_json(picked), **_detail(picked)},
            "members": [_member(*found) for found in members[:MEMBERS]],
            "membersTotal": len(members),
        }

    async def _read(self) -> None:
        await self._pools.read()
        self._rows = [self._row(served) for served in self._groups.known()]
        self._answers = {}

    async def _count(self) -> None:
        await self._counting.count()
        self._answers = {}

    def _row(self, served: ServedGroup) -> _Row:
        pool = self._pools.views.get(PoolKey(served.door.name, served.group.pool))
        serving = None if pool is None else pool.serving.get(served.group.group_id, Serving(living=len(pool.living)))
        conditions = group_conditions(served.group, serving, self._groups.is_fresh_at(served.door))
        return _Row(served, pool, serving, conditions, needs_attention(conditions))

    def _row_json(self, row: _Row) -> dict[str, object]:
        group = row.served.group
        living = {} if row.pool is None else row.pool.living
        owners = _owners(row, living)
        counts = self._counting.last(group.group_id)
        return {
            "groupId": group.group_id,
            "owner": group.owner,
            "store": row.served.door.name,
            "executorPool": group.pool,
            "state": group.state,
            "stateSince": format_instant(group.state_since),
            "paused": group.spec.paused,
            "shards": group.shards,
            "owned": 0 if row.serving is None else row.serving.claimed,
            "owners": [{"name": name, "shards": count} for name, count in sorted(owners.most_common(OWNERS))],
            "lateness": None if row.serving is None else row.serving.lateness,
            "objective": group.spec.objectives.lateness.total_seconds(),
            "counts": None if counts is None else counts_json(counts),
            "conditions": [finding._asdict() for finding in row.conditions],
            "attention": row.attention,
        }


def _matches(row: _Row, look: Look) -> bool:
    group = row.served.group
    if look.attention and not row.attention:
        return False
    return look.search in group.group_id or look.search in group.owner.lower()


def _owners(row: _Row, living: Mapping[str, Member]) -> Counter[str]:
    """Shards by the name of their living owner."""
    shards = () if row.pool is None else row.pool.shards.get(row.served.group.group_id, ())
    owners = Counter(shard.owner for shard in shards)
    found: Counter[str] = Counter()
    for incarnation, count in owners.items():
        if incarnation is not None and incarnation in living:
            found[living[incarnation].name] += count
    return found


def _detail(row: _Row) -> dict[str, object]:
    spec = row.served.group.spec
    rate = spec.callback.rate_limit
    return {
        "settings": {
            "callbackTimeout": format_duration(spec.callback.timeout),
            "maxInFlight": spec.callback.max_in_flight,
            "rateLimit": None if rate is None else f"{rate.requests} per {format_duration(rate.period)}",
            "signingSecrets": 0 if spec.callback.signing is None else len(spec.callback.signing.secret_refs),
            "retentionCompleted": format_duration(spec.retention.completed),
            "retentionFailed": format_duration(spec.retention.failed),
        },
        "map": _map(row),
    }


def _map(row: _Row) -> dict[str, object]:
    """Who owns each shard and who is to own it, as positions in `names`; null: nobody who lives."""
    living = {} if row.pool is None else row.pool.living
    shards = () if row.pool is None else row.pool.shards.get(row.served.group.group_id, ())
    names = sorted(
        {living[i].name for shard in shards for i in (shard.owner, shard.assigned_to) if i is not None and i in living}
    )
    places = {name: position for position, name in enumerate(names)}
    positions = {incarnation: places.get(member.name) for incarnation, member in living.items()}
    return {
        "names": names,
        "owners": [None if shard.owner is None else positions.get(shard.owner) for shard in shards],
        "assigned": [None if shard.assigned_to is None else positions.get(shard.assigned_to) for shard in shards],
        "epochs": [shard.epoch for shard in shards],
    }


def _member(key: PoolKey, pool: PoolView, member: Member) -> dict[str, object]:
    return {
        "name": member.name,
        "store": key.store,
        "pool": key.pool,
        "state": _state(member),
        "silentSeconds": pool.silent.get(member.incarnation),
        "version": member.report.version,
        "shards": pool.owned[member.incarnation],
        "lateness": None if member.dead else max(member.report.lateness_p99.values(), default=None),
        "unreadableSecrets": 0 if member.dead else len(member.report.unreadable_secrets),
    }


def _state(member: Member) -> str:
    if member.dead:
        return "Dead"
    return ExecutorState.DRAINING if member.draining else ExecutorState.ACTIVE
