"""Recovery: running rows of this process's shards that nobody is delivering become pending again.

A whole sweep reads all entries of running rows in its shards. While a transaction is held open elsewhere these include
all rows that ran since, as in `scans`. So a sweep each second looks only at what was taken since the one before it; whole
ones come at a claim, and once a minute for what this process held and forgot. They go in pieces that are answered soon.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import structlog

from durable_timer.clock import Clock
from durable_timer.engine.agenda import Agenda, OwnedShard
from durable_timer.engine.holdings import Holdings
from durable_timer.engine.membership import Membership
from durable_timer.engine.settings import EngineSettings
from durable_timer.engine.taking import TakeLoop
from durable_timer.engine.waiting import rest_after, wait_event
from durable_timer.errors import StoreError
from durable_timer.metrics import Metrics
from durable_timer.models.ownership import Claim, ShardKey
from durable_timer.stores.base import Store

SWEEP_EVERY: Final = 1.0
"""Seconds between two sweeps."""

WHOLE_EVERY: Final = 60.0
"""Seconds between two sweeps of a whole shard."""

CLOCKS_APART: Final = timedelta(seconds=1)
"""By what the store's clock and this process's may have parted between two sweeps."""

SWEEP_LIMIT: Final = 1000
"""Rows of one sweep call."""

PIECE_TIME: Final = 0.1
"""Seconds that a call of a whole sweep should not exceed."""

log = structlog.get_logger(__name__)


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
        self._piece = float("inf")
        self._took = 0.0
        self._asked = asyncio.Event()

    async def run(self) -> None:
        """Sweeps all claims until cancelled: once a second, less often while each of two in a row took long."""
        rest = SWEEP_EVERY
        while True:
            await wait_event(self._asked, rest)
            self._asked.clear()
            began = self._clock.monotonic()
            try:
                await self._sweep_all(began)
            except (StoreError, TimeoutError) as error:
                log.warning("cannot sweep", error=str(error) or "timeout")
                rest, self._took = SWEEP_EVERY, 0.0
                continue
            took = self._clock.monotonic() - began
            rest, self._took = rest_after(min(took, self._took), SWEEP_EVERY), took

    def soon(self) -> None:
        """Asks for a sweep of all claims now."""
        self._asked.set()

    async def sweep(self, shards: Sequence[OwnedShard], own_age: timedelta | None = None) -> None:
        """Sweeps the whole of these shards; rows of the claim's own epoch when they are older than `own_age`.

        Raises: StoreError, TimeoutError.
        """
        done = 0
        while done < len(shards):
            piece = shards[done : done + int(min(self._piece, len(shards)))]
            began = self._clock.monotonic()
            try:
                more = await self._call(piece, self._age if own_age is None else own_age, None)
            except (StoreError, TimeoutError):
                self._piece = max(1, len(piece) // 2)
                raise
            took = self._clock.monotonic() - began
            self._piece = max(1, int(len(piece) * PIECE_TIME / max(took, 1e-6)))
            if more:
                continue
            for shard in piece:
                shard.swept_at = shard.swept_whole_at = began
            done += len(piece)

    @property
    def _age(self) -> timedelta:
        """Since when a row runs that no take of this process can bring any more."""
        return timedelta(seconds=self._settings.statement_timeout + 1)

    async def _sweep_all(self, now: float) -> None:
        shards = [shard for shard in self._agenda.all() if not shard.releasing]
        whole = [shard for shard in shards if now - shard.swept_whole_at >= WHOLE_EVERY]
        await self.sweep(whole)
        await self._sweep_news([shard for shard in shards if now - shard.swept_whole_at < WHOLE_EVERY])

    async def _sweep_news(self, shards: Sequence[OwnedShard]) -> None:
        """Sweeps what the last sweep of these shards could not yet find: what was taken since, and shortly before it."""
        if not shards:
            return
        began = self._clock.monotonic()
        since = timedelta(seconds=began - min(shard.swept_at for shard in shards))
        while await self._call(shards, self._age, since + self._age + CLOCKS_APART):
            pass
        for shard in shards:
            shard.swept_at = began

    async def _call(self, shards: Sequence[OwnedShard], own_age: timedelta, within: timedelta | None) -> bool:
        """Whether there may be more of it."""
        claims = [Claim(shard.key.group_id, shard.key.shard, shard.epoch) for shard in shards]
        me, held = self._membership.incarnation, self._holdings.runs()
        async with asyncio.timeout(self._settings.statement_timeout):
            swept = await self._store.sweep(claims, me, held, own_age, SWEEP_LIMIT, within)
        for (group_id, number), count in swept.recovered.items():
            self._metrics.swept(group_id, count)
            owned = self._agenda.get(ShardKey(group_id, number))
            if owned is not None:
                self._taking.look_now(owned)
        return sum(swept.recovered.values()) + swept.cancelled >= SWEEP_LIMIT
