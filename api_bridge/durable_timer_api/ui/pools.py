"""What the status page knows of the pools: members and shards as the stores say, read once for all who look."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import structlog

from durable_timer.clock import Clock
from durable_timer.errors import StoreError
from durable_timer.models import limits
from durable_timer.models.ownership import Member, Shard
from durable_timer.planning.serving import Serving, serving
from durable_timer_api.groups_cache import GroupsCache, StoreDoor

TIMEOUT: Final = 2.0
"""Seconds that the reading of one pool may take."""

SILENT_AFTER: Final = 2.0
"""Seconds after which a member whose beat stands still is said to be silent."""

_log = structlog.get_logger(__name__)


class PoolKey(NamedTuple):
    """A pool, by the store that its groups are in."""

    store: str
    pool: str


@dataclass(frozen=True, slots=True)
class PoolView:
    """One pool as its store said last. `members` by name, dead ones last; `silent`: seconds, by incarnation.

    `shards` and `serving` by group.
    """

    members: Sequence[Member]
    living: Mapping[str, Member]
    """Members that are not dead, by incarnation."""
    shards: Mapping[str, Sequence[Shard]]
    serving: Mapping[str, Serving]
    silent: Mapping[str, int]
    owned: Counter[str | None]
    """Shards by their owner, dead or alive."""


class Pools:
    """Reads the default pool and those of all groups. One that could not be read is left out of `views`."""

    def __init__(self, groups: GroupsCache, clock: Clock) -> None:
        self.views: Mapping[PoolKey, PoolView] = {}
        self._groups = groups
        self._clock = clock
        self._beats: dict[str, tuple[int, float]] = {}

    async def read(self) -> None:
        """Reads all of them, one after the other; a store that does not answer is not asked for its other pools."""
        wanted = {PoolKey(door.name, limits.POOL_DEFAULT): door for door in self._groups.doors}
        wanted |= {PoolKey(served.door.name, served.group.pool): served.door for served in self._groups.known()}
        views: dict[PoolKey, PoolView] = {}
        away = set()
        for key, door in sorted(wanted.items(), key=lambda item: item[0]):
            view = None if key.store in away else await self._view(key, door)
            if view is None:
                away.add(key.store)
            else:
                views[key] = view
        self.views = views
        if not away:
            present = {member.incarnation for view in views.values() for member in view.members}
            self._beats = {incarnation: beat for incarnation, beat in self._beats.items() if incarnation in present}

    async def _view(self, key: PoolKey, door: StoreDoor) -> PoolView | None:
        try:
            async with asyncio.timeout(TIMEOUT):
                members = await door.store.members(key.pool)
                shards, _ = await door.store.shards(key.pool)
        except (StoreError, TimeoutError) as error:
            _log.warning("pool not read", store=key.store, pool=key.pool, error=str(error) or "timeout")
            return None
        by_group: dict[str, list[Shard]] = {}
        for shard in shards:
            by_group.setdefault(shard.group_id, []).append(shard)
        ordered = sorted(members, key=lambda member: (member.dead, member.name, member.incarnation))
        living = {member.incarnation: member for member in ordered if not member.dead}
        owned = Counter(shard.owner for shard in shards)
        return PoolView(ordered, living, by_group, serving(members, shards), self._silent(members), owned)

    def _silent(self, members: Sequence[Member]) -> dict[str, int]:
        """Beats are counters: one that was seen with the same number before has not beaten since."""
        now = self._clock.monotonic()
        silent = {}
        for member in members:
            beat, since = self._beats.get(member.incarnation, (None, now))
            if beat != member.beat:
                since = now
                self._beats[member.incarnation] = member.beat, now
            if now - since >= SILENT_AFTER and not member.dead:
                silent[member.incarnation] = int(now - since)
        return silent
