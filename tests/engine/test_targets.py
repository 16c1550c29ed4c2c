"""Which waiting job is started when, and when what a slow host cannot take comes back."""

import asyncio
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from durable_timer.engine.groups import GroupRuntime
from durable_timer.engine.holdings import LATELY, Holdings, Job
from durable_timer.engine.hosts import DEFERRAL_MIN, RETURNS, SLOW_AFTER
from durable_timer.engine.pacing import OVERDUE, STARTS
from durable_timer.engine.targets import WAIT_MAX, Targets
from durable_timer.models.group import Group, GroupState, TimerGroupSpec
from durable_timer.models.ownership import ShardKey
from durable_timer.models.timer import TakenTimer
from tests.support.waiting import eventually

DUE = datetime(2030, 1, 1, tzinfo=UTC)
ON_TIME = 0.001
OVERDUE_BY = -60.0


def group(group_id: str) -> GroupRuntime:
    row = Group(
        group_id=group_id,
        owner="file:x",
        shards=1,
        pool="default",
        spec=TimerGroupSpec.model_validate({"shards": 1}),
        generation=1,
        state=GroupState.ACTIVE,
        state_since=DUE,
        emptied_at=None,
        change=1,
    )
    made = GroupRuntime(row)
    made.owned = 1
    return made


@dataclass
class Desk:
    """Targets with all that they need; `started` and `deferred` (with seconds) tell what became of the jobs."""

    slots: int = 1000
    slots_per_target: int = 100
    started: list[Job] = field(default_factory=list)
    deferred: list[tuple[Job, float]] = field(default_factory=list)
    made: int = 0

    def __post_init__(self) -> None:
        self.holdings = Holdings(self.slots * 2, lambda _: None)
        self.targets = Targets(
            self.slots,
            self.slots_per_target,
            self.holdings,
            random.Random(1),
            self.started.append,
            lambda job, seconds: self.deferred.append((job, seconds)),
        )

    def job(self, of: GroupRuntime, remaining: float, *, now: float = 0.0) -> Job:
        """A job that holds a place."""
        self.made += 1
        timer = TakenTimer(
            group_id=of.group_id,
            timer_id=f"t{self.made}",
            shard=0,
            run=self.made,
            uid=self.made,
            occurrence=1,
            attempt=0,
            execute_at=DUE,
            due_at=DUE,
            remaining=remaining,
            callback_url="http://target/x",
            first_attempt_age=None,
            deadline_exceeded=False,
        )
        self.holdings.run_begins(self.made)
        job = Job(timer, of, ShardKey(timer.group_id, timer.shard), now)
        self.holdings.add(job)
        self.holdings.run_answered(self.made)
        return job

    def submit(self, count: int, of: GroupRuntime, remaining: float) -> list[Job]:
        jobs = [self.job(of, remaining) for _ in range(count)]
        for job in jobs:
            self.targets.submit(job, 0.0)
        return jobs


def test_a_group_is_served_beside_another_for_a_while_after_its_last_take() -> None:
    desk, a, b = Desk(), group("a"), group("b")
    desk.job(a, ON_TIME, now=5.0)
    assert not desk.holdings.several(5.0)
    other = desk.job(b, ON_TIME, now=5.0)
    assert desk.holdings.several(5.0 + 2 * LATELY)
    desk.holdings.remove(other)
    assert desk.holdings.several(5.0 + LATELY / 2)
    assert not desk.holdings.several(5.0 + 2 * LATELY)
    desk.job(a, ON_TIME, now=5.0 + 2 * LATELY)
    assert desk.holdings.several(5.0 + 2 * LATELY)


async def test_beside_others_one_pass_of_the_event_loop_begins_a_few_and_the_next_ones_the_rest() -> None:
    desk, a = Desk(), group("a")
    desk.job(group("b"), ON_TIME)
    desk.submit(STARTS * 2 + 1, a, ON_TIME)
    assert len(desk.started) == STARTS
    await asyncio.sleep(0)
    assert len(desk.started) == 2 * STARTS
    await asyncio.sleep(0)
    assert len(desk.started) == 2 * STARTS + 1


async def test_what_is_on_time_goes_before_what_waits_of_another_group() -> None:
    desk, a, b = Desk(), group("a"), group("b")
    desk.job(b, ON_TIME)
    desk.submit(STARTS * 3, a, ON_TIME)
    [one] = desk.submit(1, b, ON_TIME)
    await asyncio.sleep(0)
    assert desk.started[STARTS] is one


async def test_a_backlog_beside_others_has_a_few_under_way_and_goes_on_as_they_end() -> None:
    desk, a, b = Desk(), group("a"), group("b")
    desk.job(a, ON_TIME)
    backlog = desk.submit(OVERDUE * 2, b, OVERDUE_BY)
    assert desk.started == backlog[:OVERDUE]
    [quick] = desk.submit(1, a, ON_TIME)
    assert desk.started[-1] is quick
    await asyncio.sleep(0)
    desk.targets.done(backlog[0], 0.0)
    assert desk.started[-1] is backlog[OVERDUE]


async def test_a_backlog_beside_others_goes_on_while_its_target_takes_its_time() -> None:
    desk, a, b = Desk(), group("a"), group("b")
    desk.job(a, ON_TIME)
    backlog = desk.submit(OVERDUE * 5, b, OVERDUE_BY)
    await eventually(lambda: len(desk.started) == len(backlog))


async def test_a_backlog_of_a_group_alone_is_not_held_back() -> None:
    desk = Desk()
    desk.submit(STARTS * 2, group("a"), OVERDUE_BY)
    assert len(desk.started) == STARTS * 2


@pytest.mark.parametrize("count", [500, 5000])
async def test_no_more_come_back_to_a_slow_host_in_a_second_than_it_is_likely_to_take(count: int) -> None:
    """A deferral's returns spread over its jitter, in which those of the next one overlap: twice as many, and chance."""
    desk, of = Desk(slots_per_target=1), group("a")
    desk.submit(2, of, ON_TIME)
    desk.targets.review(WAIT_MAX)
    for _ in range(count):
        desk.targets.submit(desk.job(of, OVERDUE_BY), WAIT_MAX)
    delays = sorted(seconds for _, seconds in desk.deferred)
    assert len(delays) >= count - RETURNS * WAIT_MAX
    assert delays[0] >= DEFERRAL_MIN / 2
    in_a_second = max(sum(begin <= delay < begin + 1 for delay in delays) for begin in range(int(delays[-1]) + 1))
    assert in_a_second <= 2.5 * RETURNS


async def test_lanes_that_wait_for_a_dead_host_hold_up_no_others() -> None:
    """More of them than are looked at in vain at a time: the next pass of the event loop looks at all."""
    desk = Desk(slots_per_target=10)
    for name in range(40):
        desk.submit(2, group(f"dead{name}"), ON_TIME)
    await asyncio.sleep(0)
    before = len(desk.started)
    assert before == 10
    good = group("good")
    for _ in range(STARTS * 2):
        job = desk.job(good, ON_TIME)
        job.timer.callback_url = f"http://good{job.timer.timer_id}/x"
        desk.targets.submit(job, 0.0)
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(desk.started) == before + STARTS * 2


async def test_a_groups_first_overdue_timer_does_not_wait_behind_anothers_backlog() -> None:
    desk, a, b = Desk(), group("a"), group("b")
    backlog = desk.submit(OVERDUE * 2, b, OVERDUE_BY)
    assert len(desk.started) == len(backlog)
    desk.job(a, ON_TIME)
    [one] = desk.submit(1, a, OVERDUE_BY)
    await asyncio.sleep(0)
    assert desk.started[-1] is one


async def test_a_host_is_not_slow_because_its_timers_wait_for_others_sake() -> None:
    desk, a, b = Desk(), group("a"), group("b")
    desk.job(a, ON_TIME)
    backlog = desk.submit(OVERDUE * 4, b, OVERDUE_BY)
    desk.targets.done(backlog[0], 2 * SLOW_AFTER)
    desk.targets.review(2 * SLOW_AFTER)
    desk.targets.review(WAIT_MAX * 3)
    assert desk.deferred == []


async def test_new_lanes_of_one_group_keep_their_order() -> None:
    desk, a = Desk(), group("a")
    desk.job(group("b"), ON_TIME)
    jobs = [desk.job(a, ON_TIME) for _ in range(STARTS * 2)]
    for job in jobs:
        job.timer.callback_url = f"http://host{job.timer.timer_id}/x"
        desk.targets.submit(job, 0.0)
    await asyncio.sleep(0)
    assert desk.started == jobs


async def test_one_timer_of_a_group_may_wait_for_a_slow_host_beside_anothers_many() -> None:
    desk, many, few = Desk(slots_per_target=1), group("many"), group("few")
    desk.submit(2, many, ON_TIME)
    desk.targets.review(WAIT_MAX)
    for _ in range(int(RETURNS) * 2):
        desk.targets.submit(desk.job(many, ON_TIME), WAIT_MAX)
    assert desk.deferred
    one = desk.job(few, ON_TIME)
    desk.targets.submit(one, WAIT_MAX)
    assert one not in [job for job, _ in desk.deferred]
