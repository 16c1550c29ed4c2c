"""Wake-ups: whatever makes a timer due sooner is told. Hints: more of them than needed is no fault."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field

import pytest

from durable_timer.models.group import GroupState, TimerGroupSpec
from durable_timer.models.results import IfExists, Target
from durable_timer.models.timer import TimerChange, TimerState
from tests.stores.contract.world import LATER, NOW, Executor, World
from tests.support.waiting import eventually


@dataclass
class Heard:
    """What a listener was told."""

    calls: list[tuple[str, frozenset[int]]] = field(default_factory=list)

    def __call__(self, group_id: str, shards: Collection[int]) -> None:
        self.calls.append((group_id, frozenset(shards)))

    def of(self, group_id: str, shard: int | None = None) -> bool:
        """Whether the group's shard (or all its shards) was told of."""
        return any(group == group_id and (not shards or shard in shards) for group, shards in self.calls)


async def listening(world: World) -> Heard:
    """A listener that is known to hear, and has heard nothing since."""
    assert world.store.capabilities.wake_ups
    heard = Heard()
    world.store.listen(heard)
    probe = World(world.store, world.open, world.pass_time)
    await probe.register()

    async def told() -> bool:
        await probe.create(probe.id_in(0))
        return heard.of(probe.group_id, 0)

    await eventually(told)
    heard.calls.clear()
    return heard


async def create(world: World, timer_id: str) -> None:
    await world.create(timer_id)


async def replace(world: World, timer_id: str) -> None:
    await world.results(world.new(timer_id, says="other"), if_exists=IfExists.REPLACE)


async def move(world: World, timer_id: str) -> None:
    await world.store.update(world.group_id, Target(timer_id), TimerChange(delay=NOW))


async def run(world: World, timer_id: str) -> None:
    await world.store.run(world.group_id, [Target(timer_id)])


async def let_go(world: World, timer_id: str) -> None:
    past = await world.store.now() - LATER
    await world.store.update(world.group_id, Target(timer_id), TimerChange(suspended=True, execute_at=past))
    await world.store.update(world.group_id, Target(timer_id), TimerChange(suspended=False))


@pytest.mark.parametrize("act", [create, replace, move, run, let_go])
@pytest.mark.parametrize("shard", [0, 3])
async def test_what_makes_a_timer_due_is_told(
    world: World, act: Callable[[World, str], Awaitable[None]], shard: int
) -> None:
    timer_id = world.id_in(shard)
    if act is not create:
        await world.create(timer_id, delay=LATER)
    heard = await listening(world)
    await act(world, timer_id)
    await eventually(lambda: heard.of(world.group_id, shard))


async def test_a_redrive_is_told(world: World, executor: Executor) -> None:
    row = await world.bring(executor, "t", TimerState.FAILED)
    heard = await listening(world)
    await world.store.redrive(world.group_id, [Target("t")])
    await eventually(lambda: heard.of(world.group_id, row.shard))


async def test_a_release_is_told(world: World, executor: Executor) -> None:
    heard = await listening(world)
    await executor.release()
    await eventually(lambda: all(heard.of(world.group_id, shard) for shard in range(4)))


async def test_an_unpause_is_told(world: World) -> None:
    await world.register(spec=TimerGroupSpec(paused=True), generation=2)
    heard = await listening(world)
    await world.register(generation=3)
    await eventually(lambda: heard.of(world.group_id))


async def test_a_deleted_group_that_resumes_is_told(world: World) -> None:
    await world.store.set_group_state(world.group_id, world.owner, GroupState.DELETED)
    heard = await listening(world)
    await world.register()
    await eventually(lambda: heard.of(world.group_id))


async def test_it_comes_after_the_commit(world: World, executor: Executor) -> None:
    """What was told of can be taken."""
    heard = await listening(world)
    await world.create("t")
    shard = (await world.row("t")).shard
    await eventually(lambda: heard.of(world.group_id, shard))
    assert (await executor.take_one()).timer_id == "t"


async def test_an_ended_listener_hears_no_more(world: World) -> None:
    ended = Heard()
    world.store.listen(ended)()
    heard = await listening(world)
    timer_id = world.id_in(0)
    await world.create(timer_id)
    await eventually(lambda: heard.of(world.group_id, 0))
    assert ended.calls == []


async def test_every_listener_of_every_process_hears(shared: World) -> None:
    elsewhere = World(await shared.open(), shared.open, shared.pass_time, group_id=shared.group_id)
    near, far = await listening(shared), await listening(elsewhere)
    await shared.create(shared.id_in(2))
    await eventually(lambda: near.of(shared.group_id, 2) and far.of(shared.group_id, 2))
