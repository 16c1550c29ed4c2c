"""The take loop: asks the store for what is due in the shards whose time has come, no more than there are places for."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime
from typing import Final

import structlog

from durable_timer.clock import Clock
from durable_timer.engine.agenda import Agenda, OwnedShard
from durable_timer.engine.groups import GroupRuntime
from durable_timer.engine.holdings import Holdings, Job
from durable_timer.engine.membership import Membership
from durable_timer.engine.scans import FLOOR_LAG, LATE_COMMIT, SCAN_EVERY, UNREAD, Scans, set_floor
from durable_timer.engine.settings import EngineSettings
from durable_timer.engine.store_time import StoreTime
from durable_timer.engine.waiting import Backoff, wait_event
from durable_timer.errors import StatementTimeout, StoreError
from durable_timer.metrics import Metrics
from durable_timer.models.ownership import ShardKey
from durable_timer.stores.base import PASSED_BY, Store, TakeGroup, Taken, TakeShard

BATCH: Final = 500
"""Timers of one take at most."""

BATCH_BESIDE: Final = 100
"""Overdue timers of one take at most while several groups are served, so that it is soon dealt with."""

SPACING_BESIDE: Final = 0.02
"""Least seconds between two takes of a group's overdue timers while several groups are served."""

SHARDS_PER_TAKE: Final = 256
"""Shards that one take names at most, so that its time is bounded."""

QUIET_LIMIT: Final = 8
"""Timers taken at a first look at a group that had nothing due lately."""

PROBE_EVERY: Final = 1.0
"""Seconds between looks at a shard with nothing near."""

NEAR_EVERY: Final = 0.04
"""Seconds between looks at a shard with something near; with the look-ahead it decides how many come in one take."""

STARVED_EVERY: Final = 0.05
"""Seconds between looks at a shard whose group has no place."""

TOGETHER: Final = 0.015
"""Looks due within this many seconds of each other share a take."""

SPACING: Final = 0.002
"""Least seconds between two takes that did not fill up."""

ROOM_WAIT: Final = 0.005
"""Seconds that a take waits for more places when there are few."""

GIVEN_UP_FOR: Final = 60.0
"""Seconds for which a take without an answer is remembered: it may commit late, and whole sweeps find it after that."""

log = structlog.get_logger(__name__)


class TakeLoop:
    """One take at a time. `accept` gets each taken timer as a job that holds its place."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        rng: random.Random,
        settings: EngineSettings,
        membership: Membership,
        steady: Callable[[], bool],
        agenda: Agenda,
        metrics: Metrics,
        accept: Callable[[Job, datetime], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._rng = rng
        self._backoff = Backoff(rng)
        self._settings = settings
        self._membership = membership
        self._steady = steady
        self._agenda = agenda
        self._metrics = metrics
        self._accept = accept
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._store_time = StoreTime()
        self._scans = Scans()
        self._starved: dict[str, dict[ShardKey, OwnedShard]] = {}
        self._given_up: deque[float] = deque()
        self.holdings = Holdings(settings.slots * 2, self._freed)
        self.turned_at = clock.monotonic()

    @property
    def given_up_at(self) -> float | None:
        """Monotonic second at which the oldest take of the last minute was asked whose answer never came."""
        while self._given_up and self._given_up[0] < self._clock.monotonic() - GIVEN_UP_FOR:
            self._given_up.popleft()
        return self._given_up[0] if self._given_up else None

    def look_now(self, shard: OwnedShard) -> None:
        """Something may be due in the shard, at any place of its order."""
        shard.whole = True
        self._wake(shard)

    def look_within(self, key: ShardKey, seconds: float, anywhere: bool) -> None:
        """A row of the shard becomes due in so many seconds; `anywhere`: perhaps before what was taken last."""
        shard = self._agenda.get(key)
        if shard is None:
            return
        shard.whole = shard.whole or anywhere
        at = self._clock.monotonic() + max(0.0, seconds - self._settings.look_ahead.total_seconds())
        if at < shard.at:
            if seconds <= PROBE_EVERY:
                self._tell(shard)
            self._agenda.put(shard, at)
            self._changed.set()

    def woken(self, group_id: str, numbers: Collection[int]) -> bool:
        """A wake-up of the store's; whether it concerned a shard of this process.

        One of a whole group (it fires again, or a wake-up may have been missed) may concern rows due long ago; one that
        names shards tells of rows whose time was set just now.
        """
        if not numbers:
            mine = self._agenda.of_group(group_id)
            for shard in mine:
                self.look_now(shard)
            return bool(mine)
        named = [owned for n in numbers if (owned := self._agenda.get(ShardKey(group_id, n))) is not None]
        for shard in named:
            self._wake(shard)
        return bool(named)

    def _tell(self, shard: OwnedShard) -> None:
        """Something is due soon in the shard, and was perhaps committed late."""
        if not shard.woken and shard.floor is not None:
            shard.floor -= LATE_COMMIT
        shard.woken = True

    def _wake(self, shard: OwnedShard) -> None:
        self._tell(shard)
        self._agenda.sooner(shard, self._clock.monotonic())
        self._changed.set()

    def group_changed(self, group: GroupRuntime) -> None:
        """Limits, pause or keys changed: looks at all its shards anew."""
        for shard in self._agenda.of_group(group.group_id):
            self.look_now(shard)

    async def barrier(self) -> None:
        """Waits until a take that is under way now is over and its answer dealt with."""
        await self._idle.wait()

    async def run(self) -> None:
        """Takes until cancelled."""
        while True:
            self.turned_at = now = self._clock.monotonic()
            if not self._steady():
                await wait_event(self._membership.answered, self._settings.beat_interval)
                await asyncio.sleep(SPACING)
                continue
            self._changed.clear()
            wait = self._agenda.next_at() - now
            if wait > 0 or self.holdings.free <= 0:
                await wait_event(self._changed, min(max(wait, SPACING), PROBE_EVERY))
                continue
            if self.holdings.free < BATCH // 2 and self.holdings.count:
                await wait_event(self._changed, ROOM_WAIT)
            await self._take(self._agenda.pop_due(self._clock.monotonic() + TOGETHER, SHARDS_PER_TAKE))

    async def _take(self, due: list[OwnedShard]) -> None:
        shards, groups = self._asked(due)
        if not groups:
            await asyncio.sleep(0)
            return
        me, run = self._membership.incarnation, self._rng.getrandbits(63)
        asked = self._clock.monotonic()
        for shard in shards:
            shard.woken = False
            if shard.scan:
                shard.whole, shard.scan_at = False, asked + SCAN_EVERY
        filled, problem = False, None
        self._idle.clear()
        self.holdings.run_begins(run)
        try:
            async with asyncio.timeout(self._settings.call_timeout):
                taken = await self._store.take_due(groups, me, self._settings.look_ahead, run)
            ended = self._clock.monotonic()
            filled = self._answered(shards, taken, me, asked)
            self._scans.took(ended - asked, ended, len(self._agenda))
            self._backoff.reset()
        except (StoreError, TimeoutError) as error:
            log.warning("a take was not answered", error=str(error) or "timeout")
            problem = error
        finally:
            self.holdings.run_answered(run)
            self._idle.set()
        if problem is not None:
            await self._unanswered(shards, asked, problem)
        elif not filled:
            await asyncio.sleep(SPACING)

    async def _unanswered(self, shards: list[OwnedShard], asked: float, problem: Exception) -> None:
        """Puts the shards off. Where the store ended the take for its time, the reads without floor are why."""
        now = self._clock.monotonic()
        self._given_up.append(asked)
        self._store_time.forget()
        pause = self._backoff.pause()
        for shard in shards:
            shard.whole = shard.whole or shard.scan
            self._agenda.put(shard, now + pause)
        if not isinstance(problem, StatementTimeout) or not any(shard.scan for shard in shards):
            return
        with suppress(StoreError, TimeoutError):
            async with asyncio.timeout(self._settings.call_timeout):
                said = await self._store.now()
            self._scans.failed(self._clock.monotonic(), said - UNREAD)

    def _asked(self, due: list[OwnedShard]) -> tuple[list[OwnedShard], list[TakeGroup]]:
        """Which of the due shards are named, and how many timers of each group there is room for.

        The others are looked at when there is something to look for, or right after this take.
        """
        now = self._clock.monotonic()
        able, free = self._able(due, now)
        chosen, waiting = self._scans.choose(able, now)
        by_group: dict[str, list[OwnedShard]] = {}
        for shard in chosen:
            by_group.setdefault(shard.key.group_id, []).append(shard)
        shares = self._shares(by_group, now)
        shards: list[OwnedShard] = []
        groups: list[TakeGroup] = []
        for group_id, share in shares.items():
            members = by_group.pop(group_id)
            shards += members
            if any(shard.behind for shard in members):
                members[0].group.spaced_until = now + SPACING_BESIDE
            named = [TakeShard(s.key.shard, s.epoch, None if s.scan else s.floor) for s in members]
            groups.append(TakeGroup(group_id, named, min(share, free[group_id])))
        self._scans.named(shards)
        for left in (waiting, *by_group.values()):
            for shard in left:
                self._agenda.put(shard, now)
        return shards, groups

    def _able(self, due: list[OwnedShard], now: float) -> tuple[list[OwnedShard], dict[str, int]]:
        """Those of the due shards that may be taken from now, and for how many timers of each group there is a place."""
        able: list[OwnedShard] = []
        free: dict[str, int] = {}
        for shard in due:
            group = shard.group
            if shard.releasing or not group.fires:
                continue
            if shard.behind and now < group.spaced_until and self._beside(shard, now):
                self._agenda.put(shard, group.spaced_until)
                continue
            if group.group_id not in free:
                free[group.group_id] = self._room(group, now)
            if free[group.group_id] < 1:
                group.starved = True
                self._starve(shard, now)
            else:
                if group.starved:
                    group.starved, group.held_until = False, now
                able.append(shard)
        return able, free

    def _room(self, group: GroupRuntime, now: float) -> int:
        """Places for the group: what its limits leave, and where several are served, no more than stay free."""
        room = group.free(now)
        return min(room, self.holdings.free - group.held) if self.holdings.crowded and group.held else room

    def _shares(self, by_group: dict[str, list[OwnedShard]], now: float) -> dict[str, int]:
        """Divides the places: a few to each quiet group, the rest evenly among those with more due than was taken."""
        room = min(BATCH, self.holdings.free)
        hot = [g for g, shards in by_group.items() if any(s.hot for s in shards)]
        quiet = [g for g in by_group if g not in set(hot)]
        if not hot:
            share = max(1, room // max(1, len(quiet)))
            return dict.fromkeys(quiet[:room], share)
        few = min(QUIET_LIMIT, max(1, room // 2 // max(1, len(quiet))))
        shares = dict.fromkeys(quiet[: room // 2], few)
        rest = room - few * len(shares)
        shares.update(dict.fromkeys(hot[:rest], max(1, rest // len(hot))))
        if self.holdings.several(now):
            behind = [g for g in shares if any(shard.behind for shard in by_group[g])]
            most = max(1, BATCH_BESIDE // max(1, len(behind)))
            shares.update({g: min(shares[g], most) for g in behind})
        return shares

    def _beside(self, shard: OwnedShard, now: float) -> bool:
        """Whether the shard has a backlog, and there is another group that should not notice."""
        return shard.behind and self.holdings.several(now)

    def _starve(self, shard: OwnedShard, now: float) -> None:
        """Looks again when the rate limit lets one through, a place is freed, or soon."""
        self._starved.setdefault(shard.group.group_id, {})[shard.key] = shard
        self._agenda.put(shard, now + min(PROBE_EVERY, max(STARVED_EVERY, shard.group.wait(now) or 0.0)))

    def _freed(self, group: GroupRuntime) -> None:
        self._changed.set()
        for shard in self._starved.pop(group.group_id, {}).values():
            if self._agenda.get(shard.key) is shard:
                self._agenda.sooner(shard, self._clock.monotonic())

    def _answered(self, shards: list[OwnedShard], taken: Taken, me: str, asked: float) -> bool:
        """Deals with an answer; whether the take filled up somewhere, so that the next one should follow at once."""
        reached = self._store_time.instant(taken.now, asked, self._clock.monotonic())
        self._metrics.clock_offset((taken.now - self._clock.now()).total_seconds())
        mine: dict[tuple[str, int], OwnedShard] = {}
        if me == self._membership.incarnation:
            mine = {s.key: owned for s in shards if (owned := self._agenda.get(s.key)) and owned.epoch == s.epoch}
        last: dict[ShardKey, datetime] = {}
        for timer in taken.timers:
            owned = mine.get((timer.group_id, timer.shard))
            if owned is None:
                continue
            last[owned.key] = timer.due_at
            job = Job(timer, owned.group, owned.key, reached)
            self.holdings.add(job)
            owned.group.took(1)
            self._accept(job, taken.now)
        for group_id, count in Counter(timer.group_id for timer in taken.timers).items():
            self._metrics.taken(group_id, count)
        highest = taken.now - FLOOR_LAG - self._store.capabilities.visibility_delay
        waits = [wait for row in taken.next_due for wait in row]
        ahead = self._settings.look_ahead.total_seconds()
        filled = False
        for shard, wait in zip(shards, waits, strict=True):
            latest = last.get(shard.key)
            more = wait is not None and wait <= ahead
            set_floor(shard, wait if more else None, latest, highest)
            more = more and not (wait == PASSED_BY and latest is None)
            filled |= more
            shard.behind = wait is not None and wait <= 0
            near = PROBE_EVERY if wait is None else min(PROBE_EVERY, max(NEAR_EVERY, wait - ahead))
            self._look_again(shard, near, reached, more=more)
        return filled

    def _look_again(self, shard: OwnedShard, near: float, reached: float, *, more: bool) -> None:
        if self._agenda.get(shard.key) is not shard:
            return
        shard.hot = more
        if more or shard.woken:
            self._agenda.sooner(shard, shard.group.spaced_until if self._beside(shard, reached) else reached)
            return
        self._agenda.sooner(shard, reached + near)
