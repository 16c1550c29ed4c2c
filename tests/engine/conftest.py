"""An executor over the reference store in memory, with targets that answer as told."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest

from durable_timer.clock import SystemClock
from durable_timer.engine.delivery import CallbackRequest
from durable_timer.engine.executor import Executor
from durable_timer.engine.settings import EngineSettings
from durable_timer.metrics import Metrics
from durable_timer.models.group import Group, GroupRegistration, TimerGroupSpec
from durable_timer.models.results import CreateStatus, IfExists
from durable_timer.models.timer import NewTimer, Timer, TimerState
from durable_timer.planning.answers import Answer, NoAnswer
from durable_timer.planning.sharding import shard_of
from durable_timer.stores.memory import MemoryDatabase, MemoryStore
from durable_timer.tracing import ContextTracer
from tests.support.waiting import eventually

FakeTarget = Callable[[CallbackRequest], Awaitable[Answer | NoAnswer]]


async def accepted(request: CallbackRequest) -> Answer | NoAnswer:
    await asyncio.sleep(0)
    return Answer(200, b'{"ok":true}')


def answering(*answers: Answer | NoAnswer) -> FakeTarget:
    """Answers each in turn, and the last one from then on."""
    left = list(answers)

    async def target(request: CallbackRequest) -> Answer | NoAnswer:
        return left.pop(0) if len(left) > 1 else left[0]

    return target


@dataclass
class FakeTargets:
    """A deliverer whose targets are functions, by the URL's host; the others accept."""

    by_host: dict[str, FakeTarget] = field(default_factory=dict)
    sent: list[tuple[float, CallbackRequest]] = field(default_factory=list)
    under_way: int = 0
    most: int = 0

    async def send(self, request: CallbackRequest) -> Answer | NoAnswer:
        self.sent.append((asyncio.get_running_loop().time(), request))
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            return await self.by_host.get(request.url.split("/")[2], accepted)(request)
        finally:
            self.under_way -= 1

    async def close(self) -> None:
        pass

    def urls(self) -> list[str]:
        return [request.url for _, request in self.sent]


@dataclass
class FakeSecrets:
    values: dict[tuple[str | None, str, str], bytes] = field(default_factory=dict)

    async def read(self, namespace: str | None, name: str, key: str) -> bytes | None:
        return self.values.get((namespace, name, key))


class Rig:
    """One database, its executors, its targets."""

    def __init__(self) -> None:
        self.store = MemoryStore(MemoryDatabase())
        self.targets = FakeTargets()
        self.secrets = FakeSecrets()
        self.metrics = Metrics()
        self._running: list[tuple[Executor, asyncio.Task[None]]] = []

    async def group(self, group_id: str = "g", **spec: object) -> Group:
        """Registers a group; `spec` is as in a manifest."""
        shards = spec.get("shards", 4)
        assert isinstance(shards, int)
        parsed = TimerGroupSpec.model_validate({"shards": shards, **spec})
        return await self.store.register_group(
            GroupRegistration(group_id, f"file:{group_id}", shards, "default", parsed, 1)
        )

    async def start(self, **settings: object) -> Executor:
        """Starts an executor and waits until it is ready and owns shards."""
        executor = await self.start_unowned(**settings)
        await eventually(lambda: self.owned(executor))
        return executor

    async def start_unowned(self, **settings: object) -> Executor:
        """Starts an executor and waits until it is ready."""
        executor = Executor(
            store=MemoryStore(self.store.database),
            deliverer=self.targets,
            secrets=self.secrets,
            clock=SystemClock(),
            rng=random.Random(len(self._running)),
            settings=EngineSettings(name=f"executor-{len(self._running)}", **settings),  # type: ignore[arg-type]
            metrics=self.metrics,
            tracer=ContextTracer(random.Random(7)),
        )
        self._running.append((executor, asyncio.create_task(executor.run())))
        await eventually(executor.ready)
        return executor

    def owned(self, executor: Executor) -> int:
        me = executor._membership.incarnation
        return sum(shard.owner == me for shard in self.store.database.shards.values())

    async def create(
        self,
        timer_id: str,
        url: str = "http://target/x",
        group_id: str = "g",
        *,
        in_seconds: float = 0.0,
        **more: object,
    ) -> Timer:
        shards = self.store.database.groups[group_id].shards
        execute_at = more.pop("execute_at", None) or await self.store.now() + timedelta(seconds=in_seconds)
        assert isinstance(execute_at, datetime)
        plain = NewTimer(
            group_id=group_id,
            timer_id=timer_id,
            shard=shard_of(timer_id, shards),
            callback_url=url,
            fingerprint=timer_id.encode(),
            execute_at=execute_at,
        )
        new = replace(plain, **more)  # type: ignore[arg-type]
        (result,) = await self.store.create([new], IfExists.FAIL)
        assert result.status is CreateStatus.CREATED
        return result.timer

    async def row(self, timer_id: str, group_id: str = "g") -> Timer | None:
        return (await self.store.get(group_id, [timer_id]))[0]

    async def row_when(
        self, timer_id: str, condition: Callable[[Timer], object], within: float = 10.0, group_id: str = "g"
    ) -> Timer:
        """The timer's row, once there is one that satisfies the condition."""

        async def there() -> Timer | None:
            row = await self.row(timer_id, group_id)
            return row if row is not None and condition(row) else None

        found = await eventually(there, within)
        assert found is not None
        return found

    async def becomes(self, timer_id: str, state: TimerState, within: float = 10.0, group_id: str = "g") -> Timer:
        return await self.row_when(timer_id, lambda row: row.state is state, within, group_id)

    async def stop(self, executor: Executor) -> None:
        task = next(task for other, task in self._running if other is executor)
        executor.stop()
        await task

    async def kill(self, executor: Executor) -> None:
        """Ends its tasks without a word to the store."""
        task = next(task for other, task in self._running if other is executor)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def close(self) -> None:
        for executor, _ in self._running:
            await self.kill(executor)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    yield made
    await made.close()
