"""How often the backlog is counted, beside a store that hangs, and whose backlog a member tells of."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from durable_timer.engine.agenda import Agenda, OwnedShard
from durable_timer.engine.groups import GroupRuntime
from durable_timer.engine.settings import EngineSettings
from durable_timer.engine.upkeep import BACKLOG_EVERY, BACKLOG_REST_MAX, Upkeep
from durable_timer.models.group import Group, GroupState, TimerGroupSpec
from durable_timer.models.ownership import ShardKey
from durable_timer.models.page import Counts
from tests.simulation.loop import Process, VirtualLoop

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GROUPS = 100


class Bench:
    """The count of the backlogs of many groups, in virtual time."""

    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.takes = 0.0
        self.calls: list[tuple[float, str]] = []
        self.told: dict[str, tuple[float, int]] = {}
        self.agenda = Agenda()
        runtimes = {
            name: GroupRuntime(
                Group(name, f"file:{name}", 1, "default", TimerGroupSpec(), 1, GroupState.ACTIVE, NOW, None, 1)
            )
            for name in (f"g{number}" for number in range(GROUPS))
        }
        for name, runtime in runtimes.items():
            self.agenda.add(OwnedShard(ShardKey(name, 0), 1, runtime), 0.0)
        parts: Any = {
            "store": SimpleNamespace(counts=self._counts, now=self._now),
            "clock": SimpleNamespace(monotonic=self.loop.time, now=lambda: NOW),
            "settings": EngineSettings(name="executor"),
            "book": SimpleNamespace(groups=runtimes),
            "agenda": self.agenda,
            "taking": SimpleNamespace(),
            "ownership": SimpleNamespace(),
            "metrics": SimpleNamespace(backlog=self._tell),
        }
        self.running = self.loop.spawn(Process("executor"), Upkeep(**parts).count_forever(), "backlog")

    async def _counts(self, group_id: str) -> Counts:
        self.calls.append((self.loop.time(), group_id))
        await asyncio.sleep(self.takes)
        return Counts(pending=7, running=0, completed=0, failed=0, due=7, oldest_due_at=NOW)

    async def _now(self) -> datetime:
        return NOW

    def _tell(self, group_id: str, due: int, oldest_age: float) -> None:
        self.told[group_id] = (self.loop.time(), due)

    def play(self, seconds: float) -> None:
        self.loop.run_until(lambda: False, self.loop.time() + seconds)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.loop.dispose()


def test_after_a_time_without_answers_it_counts_again_soon(bench: Bench) -> None:
    bench.takes = 60.0
    bench.play(600.0)
    assert not bench.told
    bench.takes = 0.001
    bench.play(GROUPS * 0.001 + 2 * BACKLOG_EVERY + 2.0)
    assert len(bench.told) == GROUPS


def test_counts_that_take_long_are_seldom_but_not_for_hours(bench: Bench) -> None:
    bench.takes = 1.5
    bench.play(GROUPS * 1.5 + 0.1)
    bench.calls.clear()
    bench.play(BACKLOG_REST_MAX - BACKLOG_EVERY)
    assert not bench.calls
    bench.play(2 * BACKLOG_EVERY)
    assert bench.calls


def test_a_group_that_is_anothers_business_now_has_no_backlog_here_though_it_rests(bench: Bench) -> None:
    bench.takes = 1.5
    bench.play(GROUPS * 1.5 + 1.0)
    assert bench.told["g5"][1] == 7
    bench.agenda.remove(ShardKey("g5", 0))
    bench.play(BACKLOG_EVERY)
    assert bench.told["g5"][1] == 0
