"""Three executors and five clients on a real PostgreSQL, at random, in real time: the same promises asked of what happened."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

import pytest

from durable_timer.clock import SystemClock
from durable_timer.engine.executor import Executor
from durable_timer.engine.settings import EngineSettings
from durable_timer.metrics import Metrics
from durable_timer.models.group import GroupRegistration
from durable_timer.models.page import TimerFilter
from durable_timer.models.timer import Timer, TimerState
from durable_timer.stores.base import Store
from durable_timer.stores.options import StoreOptions
from durable_timer.stores.registry import open_store
from tests.simulation.checks import Evidence, delivered, exact, no_duplicates, no_overlap, outcomes_are_real
from tests.simulation.clients import Client
from tests.simulation.history import Fault, History, Send
from tests.simulation.loop import Process
from tests.simulation.recorded import RealTime, RecordedStore, locks
from tests.simulation.scenario import Scenario, spec_of
from tests.simulation.targets import NoSecrets, NoTracer, SimDeliverer, Targets
from tests.simulation.weather import CALM
from tests.support.waiting import eventually

pytestmark = pytest.mark.postgresql

SEED = 1
CLIENTS, EXECUTORS = 5, 3
TIMERS, OPERATIONS = 60, 40
SECONDS = 8.0
SETTLED_WITHIN = 60.0
TICK = timedelta(milliseconds=2)
OPTIONS = StoreOptions(statement_timeout=timedelta(seconds=2), connections=4)


@dataclass
class Place:
    """Where one executor runs, until it stops or is cut off and another follows."""

    stores: "Stores"
    history: History
    targets: Targets
    rng: random.Random
    number: int
    generation: int = 0
    running: asyncio.Task[None] | None = None
    executor: Executor | None = None
    leaving: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"x{self.number}.{self.generation}"

    async def start(self) -> None:
        self.generation += 1
        self.executor = Executor(
            store=await self.stores.open(self.name),
            deliverer=SimDeliverer(Process(self.name), self.targets, self.history),
            secrets=NoSecrets(),
            clock=SystemClock(),
            rng=self.rng,
            settings=EngineSettings(name=self.name, slots=50, slots_per_target=20),
            metrics=Metrics(),
            tracer=NoTracer(),
        )
        self.running = asyncio.create_task(self.executor.run())

    async def replace(self) -> None:
        """A planned stop; its successor starts at once."""
        assert self.executor is not None
        assert self.running is not None
        self.executor.stop()
        self.leaving.append(self.running)
        await self.start()

    async def vanish(self) -> None:
        """Ends without a word to the store, as a killed process does; its successor starts at once."""
        assert self.running is not None
        now = self.history.loop.time()
        self.history.faults.append(Fault("kill", self.name, now, now))
        self.running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.running
        await self.start()

    async def stop(self) -> None:
        assert self.executor is not None
        assert self.running is not None
        self.executor.stop()
        await asyncio.gather(self.running, *self.leaving)


@dataclass
class Stores:
    """Opens a store of its own for everyone who takes part, and closes them."""

    url: str
    history: History
    locks: dict[str, asyncio.Lock] = field(default_factory=locks)
    opened: list[Store] = field(default_factory=list)

    async def open(self, name: str) -> Store:
        store = open_store(self.url, OPTIONS)
        self.opened.append(store)
        return cast("Store", RecordedStore(store, name, self.history, self.locks))

    async def close(self) -> None:
        await asyncio.gather(*(store.close() for store in self.opened))


@pytest.fixture
async def stores(postgres_database: str) -> AsyncIterator[Stores]:
    opened = Stores(postgres_database, RealTime().history())
    yield opened
    await opened.close()


async def test_the_promises_hold_on_postgresql(stores: Stores) -> None:
    history, rng = stores.history, random.Random(SEED)
    scenario = Scenario(seed=SEED, weather=CALM, groups={"alpha": 4, "beta": 3})
    admin = await stores.open("admin")
    await admin.migrate()
    for group_id, shards in scenario.groups.items():
        await admin.register_group(GroupRegistration(group_id, "file:test", shards, "default", spec_of(group_id), 1))
    targets = Targets(history.clock, scenario.rng("targets"))
    places = [Place(stores, history, targets, scenario.rng(f"x{n}"), n) for n in range(EXECUTORS)]
    for place in places:
        await place.start()
    clients = [
        Client(await stores.open(f"c{n}"), scenario, scenario.rng(f"c{n}"), set(scenario.groups), (0.2, 1.0, 4.0))
        for n in range(CLIENTS)
    ]
    await at_random(rng, [*_works(clients), *_hand_overs(places)])
    rows = await eventually(lambda: _settled(admin, scenario), SETTLED_WITHIN)
    for place in places:
        await place.stop()
    assert len(history.sends) > CLIENTS * TIMERS / 2
    assert violations(history, rows) == []


Work = Callable[[], Coroutine[Any, Any, None]]


async def at_random(rng: random.Random, works: list[Work]) -> None:
    """Does each thing at some instant of the test's seconds."""

    async def later(work: Work) -> None:
        await asyncio.sleep(SECONDS * rng.random())
        await work()

    await asyncio.gather(*(later(work) for work in works))


def _works(clients: list[Client]) -> list[Work]:
    creates: list[Work] = [
        lambda c=client, n=f"t{number}-{timer}": c.create(n, due=None)  # type: ignore[misc]
        for number, client in enumerate(clients)
        for timer in range(TIMERS)
    ]
    return creates + [client.operate for client in clients for _ in range(OPERATIONS)]


def _hand_overs(places: list[Place]) -> list[Work]:
    return [places[0].replace, places[1].vanish]


async def _settled(store: Store, scenario: Scenario) -> list[Timer]:
    rows: list[Timer] = []
    for group_id in scenario.groups:
        page = await store.list(group_id, TimerFilter(), limit=1000, after=None, payloads=False)
        rows += page.timers
    suspended = [row for row in rows if row.suspended and row.state is TimerState.PENDING]
    return [] if any(_is_open(row) for row in rows if row not in suspended) else rows


def _is_open(row: Timer) -> bool:
    return row.state in {TimerState.PENDING, TimerState.RUNNING}


def violations(history: History, rows: list[Timer]) -> list[str]:
    evidence = Evidence(history, rows)
    checks = (delivered, outcomes_are_real, exact, no_duplicates, no_overlap)
    return [violation for check in checks for violation in check(evidence)] + [
        f"early: {send.timer_id}" for send in history.sends if _is_early(history, send)
    ]


def _is_early(history: History, send: Send) -> bool:
    return send.take is None or history.clock.at(send.at, timedelta(0)) + TICK < send.take.timer.due_at
