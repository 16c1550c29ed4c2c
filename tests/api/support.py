"""A bridge on a real port, and what tests of it share."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

import aiohttp

from durable_timer.metrics import Metrics
from durable_timer.models.outcome import Outcome, OutcomeKind
from durable_timer.models.ownership import Claim, Member, MemberReport
from durable_timer.models.timer import TakenTimer, TimerState
from durable_timer.stores.base import Store, TakeGroup, TakeShard
from durable_timer_api.app import build_app, serve
from durable_timer_api.handlers.service import Probe
from durable_timer_api.settings import BridgeSettings
from tests.support.waiting import eventually

GROUP = "demo"
TIMERS = f"/api/v1/groups/{GROUP}/timers"
HOOK = "http://127.0.0.1:9/hook"
LATER = "2030-01-01T00:00:00.000000Z"


@dataclass(frozen=True, slots=True)
class Bridge:
    url: str
    store: Store
    metrics: Metrics


@asynccontextmanager
async def running_bridge(
    store: Store, settings: BridgeSettings | None = None, readiness: Mapping[str, Probe] | None = None
) -> AsyncIterator[Bridge]:
    settings = settings or BridgeSettings()
    metrics = Metrics()
    app = build_app({"default": store}, metrics, settings, readiness=readiness)
    async with serve(app, "127.0.0.1", 0, settings) as port:
        yield Bridge(f"http://127.0.0.1:{port}", store, metrics)


def create_body(**fields: object) -> dict[str, object]:
    """A create that is in order, with the fields given; None removes one."""
    body: dict[str, object] = {"executeAt": LATER, "callbackUrl": HOOK, **fields}
    return {name: value for name, value in body.items() if value is not None}


@dataclass(slots=True)
class Executing:
    """An executor that owns all shards of the group, to bring timers into a state."""

    store: Store
    me: str
    claims: list[Claim]

    async def bring(self, timer_id: str, state: TimerState) -> None:
        """Takes the timer, which is due (with whatever else is), and settles it unless it is to be running."""
        timer = next(timer for timer in await self._take() if timer.timer_id == timer_id)
        if state is not TimerState.RUNNING:
            kind = OutcomeKind.COMPLETED if state is TimerState.COMPLETED else OutcomeKind.FAILED
            assert await self.store.settle([_outcome(timer, kind)]) == [True]

    async def fail_all(self) -> None:
        """Takes and fails whatever is due."""
        while taken := await self._take():
            await self.store.settle([_outcome(timer, OutcomeKind.FAILED) for timer in taken])

    async def _take(self) -> list[TakenTimer]:
        shards = [TakeShard(claim.shard, claim.epoch, None) for claim in self.claims]
        run = uuid4().int >> 66
        return (await self.store.take_due([TakeGroup(GROUP, shards, 2000)], self.me, timedelta(0), run)).timers

    async def until_seen(self, client: aiohttp.ClientSession, state: str) -> None:
        """Waits until the bridge knows that its group is in that state."""

        async def seen() -> bool:
            async with client.get(f"/api/v1/groups/{GROUP}") as answer:
                return bool((await answer.json())["state"] == state)

        await eventually(seen)


def _outcome(timer: TakenTimer, kind: OutcomeKind) -> Outcome:
    return Outcome(
        group_id=GROUP, timer_id=timer.timer_id, run=timer.run, kind=kind, attempt=timer.attempt + 1, last_status=418
    )


async def executing(store: Store) -> Executing:
    """An executor of the group `demo`."""
    me = uuid4().hex
    await store.join(Member(me, "executor-0", "default", None, 0, False, False, MemberReport()))
    rows, _ = await store.shards("default")
    epochs = await store.claim([Claim(*row.key, row.epoch) for row in rows], me)
    return Executing(store, me, [Claim(*row.key, epoch or 0) for row, epoch in zip(rows, epochs, strict=True)])
