"""Recovery: running rows of this process's shards that nobody is delivering become pending again.

A whole sweep reads all entries of running rows in its shards. While a transaction is held open elsewhere these include
all rows that ran since, as in `scans`. So a sweep each second looks only at what was taken since the one before it; whole
ones come at a claim, and once a minute for what this process held and forgot. Both go in pieces, since the store makes
those of each second whole where an owner departed lately.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import structlog

from durable_timer.clock import Clock
from durable_timer.engine.agenda import Agenda, OwnedShard
from durable_timer.engine.holdings import Holdings
from durable_timer.engine.membership import Membership
from durable_timer.engine.pieces import Pieces
from durable_timer.engine.settings import EngineSettings
from durable_timer.engine.taking import TakeLoop
from durable_timer.engine.waiting import rest_after, wait_event
from durable_timer.errors import StoreError
from durable_timer.metrics import Metrics
from durable_timer.models.ownership import ShardKey
from durable_timer.stores.base import DRAINED_LATELY, Store

SWEEP_EVERY: Final = 1.0
"""Seconds between two sweeps."""

CALM_EVERY: Final = 5.0
"""Seconds between them while nothing has happened for `EVENTFUL_FOR` that leaves rows to recover (decision 0084)."""

EVENTFUL_FOR: Final = 60.0
"""Seconds of sweeps each second after a claim, a take given up, a sweep that failed or found something, a change of members."""

WHOLE_EVERY: Final = 60.0
"""Seconds between two sweeps of a whole shard."""

CLOCKS_APART: Final = timedelta(seconds=1)
"""By what the store's clock and this process's may have parted between two sweeps."""

SWEEP_LIMIT: Final = 1000
"""Rows of one sweep call."""

HAND_OVER_TIME: Final = 1.0
"""Seconds that a hand-over waits for its sweep."""

DRAIN_MARGIN: Final = 5.0
"""Seconds that a drain lasts beyond the longest callback timeout, and beyond the store's return where it was away."""

SLOW_ROUNDS: Final = 4
"""Sweeps of all shards that each have to take long in a row: less may be the way to the store."""

NEVER: Final = float("-inf")

log = structlog.get_logger(__name__)


class Found(NamedTuple):
    """What one call says: whether there is more for another one now, and whether nothing was left to other writers."""

    more: bool
    all: bool


class Sweeper:
    """Sweeps what this process owns, once a second and whenever it is asked to."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        settings: EngineSettings,
        membership: Membership,
        agenda: Agenda,
        holdings: Holdings,
        taking: TakeLoop,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._membership = membership
        self._agenda = agenda
        self._holdings = holdings
        self._taking = taking
        self._metrics = metrics
        self._news = Pieces(clock)
        self._whole = Pieces(clock)
        self._took: deque[float] = deque(maxlen=SLOW_ROUNDS)
        self._asked = asyncio.Event()
        self._drains_over: datetime | None = None
        """The store's now, as it said last while it had answered for `DRAIN_MARGIN`: who drained until then has settled."""
        self._heard_at = NEVER
        self._swept_at = NEVER
        self._eventful_at = clock.monotonic()

    async def run(self) -> None:
        """Sweeps all claims until cancelled: once a second, less often while each of a few in a row takes long."""
        rest = SWEEP_EVERY
        while True:
            await wait_event(self._asked, rest)
            self._asked.clear()
            began = self._clock.monotonic()
            if self._taking.given_up_at is not None:
                self._eventful_at = began
            if began - self._eventful_at >= EVENTFUL_FOR and began - self._swept_at < CALM_EVERY:
                continue
            self._swept_at = began
            if await self._sweep_all(began):
                self._took.append(self._clock.monotonic() - began)
            else:
                self._took.clear()
                self._eventful_at = began
            slow = min(self._took) if len(self._took) == SLOW_ROUNDS else 0.0
            rest = rest_after(slow, SWEEP_EVERY)

    def soon(self) -> None:
        """Asks for a sweep of all claims now, since something happened."""
        self._swept_at = NEVER
        self._eventful_at = self._clock.monotonic()
        self._asked.set()

    async def sweep(self, shards: Sequence[OwnedShard]) -> bool:
        """Sweeps the whole of these shards, after a claim; whether that was answered, and not just logged."""
        self._eventful_at = self._clock.monotonic()
        return await self._over(self._whole, shards, self._sweep_whole)

    async def sweep_own(self, shards: Sequence[OwnedShard]) -> None:
        """Recovers what takes left running here whose answers were lost, once no take is under way.

        It takes about a second at most. What it misses is recovered when the drain that a release leaves is over.
        """
        if not shards:
            return
        try:
            async with asyncio.timeout(HAND_OVER_TIME):
                within = self._since(shards, self._clock.monotonic())
                while (await self._call(shards, timedelta(0), within)).more:
                    pass
        except (StoreError, TimeoutError) as error:
            log.warning("cannot sweep before a hand-over", shards=len(shards), error=str(error) or "timeout")

    @property
    def _age(self) -> timedelta:
        """Since when a row runs that no take of this process can bring any more."""
        return timedelta(seconds=self._settings.statement_timeout + 1)

    async def _sweep_all(self, now: float) -> bool:
        """Whether all of it was answered."""
        shards = [shard for shard in self._agenda.all() if not shard.releasing]
        for pieces in (self._news, self._whole):
            pieces.keep(shards)
        answered = await self._hear(now)
        known = [shard for shard in shards if shard.swept_at != NEVER]
        answered &= await self._over(self._news, self._news.awake(known), self._sweep_news)
        due = self._whole.awake([shard for shard in shards if now - shard.swept_whole_at >= WHOLE_EVERY])
        due = sorted(due, key=lambda shard: shard.swept_whole_at)
        return await self._over(self._whole, due, self._sweep_whole) and answered

    async def _hear(self, now: float) -> bool:
        """Asks how far drains are over, now and then; not after an outage, before those who drain had their time.

        After an outage, narrow sweeps would not look as far back as to the rows of a drain that ends then.
        """
        if now - self._heard_at < DRAIN_MARGIN or self._membership.steady() < DRAIN_MARGIN:
            return True
        try:
            async with asyncio.timeout(self._settings.statement_timeout):
                said = await self._store.now()
        except (StoreError, TimeoutError) as error:
            log.warning("cannot ask the store's time", error=str(error) or "timeout")
            return False
        if self._membership.steady() < DRAIN_MARGIN:
            return True
        if self._drains_over is not None and said - self._drains_over > DRAINED_LATELY / 2:
            for shard in self._agenda.all():
                shard.swept_whole_at = NEVER
        self._drains_over, self._heard_at = said, self._clock.monotonic()
        return True

    async def _over(
        self, pieces: Pieces, shards: Sequence[OwnedShard], call: Callable[[Sequence[OwnedShard]], Awaitable[bool]]
    ) -> bool:
        try:
            await pieces.over(shards, call)
        except (StoreError, TimeoutError) as error:
            log.warning("cannot sweep", shards=len(shards), error=str(error) or "timeout")
            return False
        return True

    async def _sweep_whole(self, shards: Sequence[OwnedShard]) -> bool:
        """Whether there may be more. Where the first one fails, the next news bring at least what was taken lately."""
        began = self._clock.monotonic()
        try:
            found = await self._call(shards, self._age, None)
        except (StoreError, TimeoutError):
            for shard in shards:
                if shard.swept_at == NEVER:
                    shard.swept_at = began - WHOLE_EVERY
            raise
        if found.all and not found.more:
            for shard in shards:
                shard.swept_at = shard.swept_whole_at = began
        return found.more

    async def _sweep_news(self, shards: Sequence[OwnedShard]) -> bool:
        """Sweeps what the last sweep of these shards could not yet find; whether there may be more."""
        began = self._clock.monotonic()
        found = await self._call(shards, self._age, self._since(shards, began))
        if found.all and not found.more:
            for shard in shards:
                shard.swept_at = began
        return found.more

    def _since(self, shards: Sequence[OwnedShard], now: float) -> timedelta:
        """How far back to look for what the last sweep of these shards could not find: too young, or not committed."""
        oldest = min(shard.swept_at if shard.swept_at != NEVER else now - WHOLE_EVERY for shard in shards)
        given_up_at = self._taking.given_up_at
        if given_up_at is not None:
            oldest = min(oldest, given_up_at)
        return timedelta(seconds=now - oldest) + self._age + CLOCKS_APART

    async def _call(self, shards: Sequence[OwnedShard], own_age: timedelta, within: timedelta | None) -> Found:
        claims = [shard.claim for shard in shards]
        me, held = self._membership.incarnation, self._holdings.runs()
        try:
            async with asyncio.timeout(self._settings.statement_timeout):
                swept = await self._store.sweep(
                    claims, me, held, own_age, SWEEP_LIMIT, within, drains_over=self._drains_over
                )
        except (StoreError, TimeoutError):
            for shard in shards:
                self._taking.look_now(shard)
            raise
        for (group_id, number), count in swept.recovered.items():
            self._metrics.swept(group_id, count)
            owned = self._agenda.get(ShardKey(group_id, number))
            if owned is not None:
                self._taking.look_now(owned)
        if swept.found:
            self._eventful_at = self._clock.monotonic()
        done = sum(swept.recovered.values()) + swept.cancelled
        return Found(more=swept.found >= SWEEP_LIMIT and done > 0, all=swept.found <= done)
