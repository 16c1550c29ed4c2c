"""Photographs the status page over an example that does not run: `make screenshots` (it needs Chromium)."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from durable_timer import __version__
from durable_timer.metrics import Metrics
from durable_timer.models.group import GroupRegistration, GroupState, ObjectivesSpec, TimerGroupSpec
from durable_timer.models.ownership import Assignment, Claim, Member, MemberReport
from durable_timer.models.page import Counts
from durable_timer.stores.memory import MemoryStore
from durable_timer_api.app import build_app, serve
from durable_timer_api.settings import BridgeSettings
from tests.support.chromium import Tab, browsing, chromium
from tests.support.waiting import eventually

IMAGES: Final = Path(__file__).parent / "images"
EXECUTORS: Final = ("executor-6c9f-4kx2p", "executor-6c9f-b7w9q", "executor-6c9f-zt5md")
MINUTE: Final = timedelta(minutes=1)


class _Example(NamedTuple):
    """A group of the picture. `late`: p99 in seconds; `unserved`: shards that nobody owns yet; `moving`: on their way."""

    group_id: str
    namespace: str
    spec: TimerGroupSpec
    counts: Counts
    late: float | None
    unserved: int = 0
    moving: int = 0
    state: GroupState = GroupState.ACTIVE


def _counts(pending: int, running: int, failed: int, due: int = 0, oldest: timedelta | None = None) -> Counts:
    estimated = frozenset({"pending"} if pending > 10_000 else ())  # noqa: PLR2004 - where stores begin to estimate
    at = None if oldest is None else datetime.now(UTC) - oldest
    return Counts(pending, running, 48_210, failed, due, at, estimated | {"completed"})


def _examples() -> list[_Example]:
    narrow = ObjectivesSpec(lateness=timedelta(milliseconds=100))
    return [
        _Example("invoices", "billing", TimerGroupSpec(shards=64), _counts(1_240_000, 18, 0), 0.0043),
        _Example("reminders", "shop", TimerGroupSpec(shards=16), _counts(8_204, 2, 3), 0.0061, moving=2),
        _Example("carts", "shop", TimerGroupSpec(shards=16, objectives=narrow), _counts(31_700, 120, 0, 940, MINUTE / 60), 0.42),
        _Example("exports", "reports", TimerGroupSpec(shards=8, paused=True), _counts(412, 0, 0, 37, 9 * MINUTE), None),
        _Example("probation", "people", TimerGroupSpec(shards=16), _counts(2_019, 0, 1, 12, MINUTE / 20), 0.0052, unserved=5),
        _Example("retired", "shop", TimerGroupSpec(shards=16), _counts(6_120, 0, 0), None, state=GroupState.PURGING),
    ]  # fmt: skip


class _Store(MemoryStore):
    """Counts what the examples say."""

    def __init__(self, examples: list[_Example]) -> None:
        super().__init__()
        self._examples = {example.group_id: example for example in examples}

    async def counts(self, group_id: str) -> Counts:
        return self._examples[group_id].counts

    async def fill(self) -> list[str]:
        """Registers the groups, lets executors join and own them; answers the incarnations that live."""
        await self.migrate()
        for example in self._examples.values():
            owner = f"default/{example.namespace}/{example.group_id}"
            spec = example.spec
            await self.register_group(GroupRegistration(example.group_id, owner, spec.shards, "default", spec, 1))
        late = {example.group_id: example.late for example in self._examples.values() if example.late is not None}
        report = MemberReport(__version__, (), late)
        for name in (*EXECUTORS, "executor-6c9f-old01"):
            await self.join(Member(name, name, "default", None, 0, False, False, report))
        await self.declare_dead("executor-6c9f-old01", 0)
        await self._share()
        for example in self._examples.values():
            if example.state is not GroupState.ACTIVE:
                owner = f"default/{example.namespace}/{example.group_id}"
                await self.set_group_state(example.group_id, owner, example.state)
        return list(EXECUTORS)

    async def _share(self) -> None:
        rows, _ = await self.shards("default")
        for number, row in enumerate(rows):
            example = self._examples[row.group_id]
            owner = EXECUTORS[(number * 3 // len(rows) + row.shard) % 3]
            if row.shard >= example.unserved and example.state is GroupState.ACTIVE:
                await self.claim([Claim(*row.key, row.epoch)], owner)
        term = await self.raise_term("default", "operator")
        rows, _ = await self.shards("default")
        moving = [row for row in rows if row.owner and row.shard < self._examples[row.group_id].moving]
        await self.assign("default", term, [Assignment(*row.key, EXECUTORS[2]) for row in moving])


async def photographs(program: str) -> dict[Path, bytes]:
    """The page in light and dark, by the file that each belongs into."""
    taken = {}
    store = _Store(_examples())
    living = await store.fill()
    settings = BridgeSettings()
    app = build_app({"default": store}, Metrics(), settings)
    async with serve(app, "127.0.0.1", 0, settings) as port, asyncio.TaskGroup() as group:
        beating = group.create_task(_beat(store, living))
        async with browsing(program) as tab:
            for name, dark in (("ui.png", False), ("ui-dark.png", True)):
                taken[IMAGES / name] = await _photograph(tab, f"http://127.0.0.1:{port}/ui?{name}", dark=dark)
        beating.cancel()
    return taken


async def _photograph(tab: Tab, url: str, *, dark: bool) -> bytes:
    await tab.go(f"{url}#group=reminders", dark=dark, width=1360, height=1360)
    await eventually(lambda: tab.evaluate("document.querySelectorAll('#picked .map i').length === 16"))
    await eventually(lambda: tab.evaluate("document.querySelector('#groups').innerText.includes('1,240,000')"))
    return await tab.picture()


async def _beat(store: MemoryStore, incarnations: list[str]) -> None:
    counter = 0
    while True:
        counter += 1
        for incarnation in incarnations:
            await store.beat(incarnation, counter, draining=incarnation == EXECUTORS[0], report=None)
        await asyncio.sleep(0.5)


if __name__ == "__main__":
    found = chromium()
    if found is None:
        sys.exit("make screenshots needs Chromium (Debian: apt-get install chromium)")
    for file, picture in asyncio.run(photographs(found)).items():
        file.write_bytes(picture)
        print(file.relative_to(IMAGES.parents[1]))
