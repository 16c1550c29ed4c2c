"""Plays one scenario from beginning to end, in virtual time."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from durable_timer.errors import StoreError
from durable_timer.models.group import GroupRegistration, GroupState
from durable_timer.models.results import Target
from durable_timer.models.timer import Suspension, Timer, TimerChange, TimerState
from durable_timer.stores.base import Store
from durable_timer.stores.memory import MemoryDatabase
from tests.simulation.clients import Client
from tests.simulation.clocks import ProcessClock, StoreClock
from tests.simulation.executors import Executors
from tests.simulation.history import History
from tests.simulation.loop import Process, VirtualLoop
from tests.simulation.network import WORLD, Network
from tests.simulation.observer import Observer
from tests.simulation.planner import POOL, Planner
from tests.simulation.scenario import Scenario, spec_of
from tests.simulation.storm import Storm
from tests.simulation.targets import Targets

T = TypeVar("T")
OWNER: Final = "file:simulation"
CLIENTS: Final = 3
CALM_AT_MOST: Final = 120.0
LEAVE_AT_MOST: Final = 30.0
FINISHED: Final = frozenset({TimerState.COMPLETED, TimerState.FAILED})


class World:
    """Everything of one seed: loop, store, network, processes, history."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.loop = VirtualLoop()
        self.clock = StoreClock(self.loop)
        self.database = MemoryDatabase(self.clock.now, scenario.rng("uids"))
        self.history = History(self.loop, self.clock)
        self.observer = Observer(self.database, self.history)
        self.network = Network(self.loop, self.database, self.observer, scenario.rng("network"), scenario.weather)
        self.executors = Executors(
            self.loop,
            scenario,
            self.network,
            Targets(self.clock, scenario.rng("targets")),
            self.history,
            scenario.rng("executors"),
        )
        self.storm = Storm(
            self.loop,
            scenario,
            self.network,
            self.executors,
            self.history,
            self.clock,
            scenario.rng("storm"),
        )
        self.open_groups = set(scenario.groups)
        self.settled_at: float | None = None
        self._generation = 1
        self._over = False

    def play(self) -> None:
        """Runs the scenario to its end: weather, calm until all is settled, a planned stop of all."""
        play = self.loop.spawn(Process("world"), self._play(), "world")
        self.loop.run_until(play.done, self.scenario.seconds + CALM_AT_MOST + LEAVE_AT_MOST + 10.0)
        if not play.done():
            self.history.violations.append("the play did not end")
        elif error := play.exception():
            raise error
        self.history.violations.extend(f"unhandled: {error}" for error in self.loop.errors)

    async def _play(self) -> None:
        scenario = self.scenario
        admin = self._process("admin")
        for group_id in scenario.groups:
            await admin.ask(lambda store, id_=group_id: store.register_group(self._registration(id_)))  # type: ignore[misc]
        rng = scenario.rng("world")
        for place in range(scenario.executors):
            self.loop.call_exactly(0.3 * rng.random(), self.executors.start, place, context=WORLD)
        if scenario.planner:
            self._start_planners(rng)
        self._start_clients(rng)
        self._start_closing(admin, rng)
        self.storm.start()
        await asyncio.sleep(scenario.seconds)
        await self._calm(admin)
        self.executors.stop_all()
        await self._until(lambda: not self.executors.running, LEAVE_AT_MOST, "not all executors left")
        self._over = True

    # Who takes part

    def _process(self, name: str) -> "Asking":
        process = Process(name)
        return Asking(self.loop, process, self.network.store_for(process))

    def _start_clients(self, rng: random.Random) -> None:
        """Most timers are due in a rush; operations on them come at any time."""
        scenario, seconds = self.scenario, self.scenario.seconds
        clients = []
        for number in range(CLIENTS):
            asking = self._process(f"c{number}")
            clients.append((asking, Client(asking.store, scenario, scenario.rng(f"client-{number}"), self.open_groups)))
        for number in range(scenario.timers):
            asking, client = clients[number % CLIENTS]
            due = rng.choice(scenario.rushes) + 0.2 * rng.random() if rng.random() < 0.65 else None
            at = rng.uniform(0.5, seconds - 2.0) if due is None else max(0.5, due - 4.0 * rng.random())
            asking.later(at, lambda c=client, n=number, d=due: c.create(f"t{n}", due=d))  # type: ignore[misc]
        for number in range(scenario.schedules):
            asking, client = clients[number % CLIENTS]
            asking.later(rng.uniform(0.5, seconds - 10.0), lambda c=client, n=number: c.schedule(f"s{n}"))  # type: ignore[misc]
        for number in range(scenario.operations):
            asking, client = clients[number % CLIENTS]
            asking.later(rng.uniform(1.0, seconds - 1.0), client.operate)

    def _start_planners(self, rng: random.Random) -> None:
        """One leads; sometimes it is withheld, another raises the term, and the old one resumes and goes on."""
        old = self._start_planner("p0", 0.5 * rng.random())
        if rng.random() < 0.7:
            at = rng.uniform(5.0, self.scenario.seconds - 15.0)
            self._start_planner("p1", at + 2.0)
            self.loop.call_exactly(at, self.storm.pause, old, rng.uniform(4.0, 10.0), context=WORLD)

    def _start_planner(self, name: str, at: float) -> Process:
        process = Process(name)
        clock = ProcessClock(self.loop, start=0.0, offset=0.0)
        planner = Planner(process, self.network.store_for(process), clock, self.history)
        self.loop.call_exactly(at, lambda: self.loop.spawn(process, planner.run(), name), context=WORLD)
        return process

    def _start_closing(self, admin: "Asking", rng: random.Random) -> None:
        """The last group is paused for a while, and deleted and made again."""
        group_id = tuple(self.scenario.groups)[-1]
        begin = rng.uniform(4.0, 0.3 * self.scenario.seconds)
        admin.later(begin, lambda: self._register(admin, group_id, paused=True))
        admin.later(begin + rng.uniform(1.0, 10.0), lambda: self._register(admin, group_id))
        begin = rng.uniform(0.55, 0.7) * self.scenario.seconds
        admin.later(begin, lambda: self._delete(admin, group_id))
        admin.later(begin + rng.uniform(1.0, 10.0), lambda: self._register(admin, group_id))

    # Groups

    def _registration(self, group_id: str, *, paused: bool = False) -> GroupRegistration:
        shards = self.scenario.groups[group_id]
        return GroupRegistration(
            group_id, OWNER, shards, POOL, spec_of(group_id, paused=paused, tight=self.scenario.tight), self._generation
        )

    async def _register(self, admin: "Asking", group_id: str, *, paused: bool = False) -> None:
        self._generation += 1
        registration = self._registration(group_id, paused=paused)
        await admin.ask(lambda store: store.register_group(registration))
        self.open_groups.add(group_id)

    async def _delete(self, admin: "Asking", group_id: str) -> None:
        self.open_groups.discard(group_id)
        await admin.ask(lambda store: store.set_group_state(group_id, OWNER, GroupState.DELETED))

    # The end

    async def _calm(self, admin: "Asking") -> None:
        self.network.calm = True
        self.history.line("world", "* calm")
        for running in list(self.executors.running):
            if running.process.paused:
                self.loop.resume(running.process)
        if all(running.leaving for running in self.executors.running):
            self.executors.start(0)
        await asyncio.sleep(5.0)
        await self._register(admin, tuple(self.scenario.groups)[-1])
        for row in self.rows():
            if row.suspended is not Suspension.NONE:
                await self._unsuspend(admin, row)
        await self._until(self._is_settled, CALM_AT_MOST - 10.0, "not all timers were settled")
        self.settled_at = self.loop.time()
        await asyncio.sleep(3.0)

    async def _unsuspend(self, admin: "Asking", row: Timer) -> None:
        change = TimerChange(suspended=False)
        for _ in range(20):
            result = await admin.ask(lambda store: store.update(row.group_id, Target(row.timer_id), change))
            if result.timer is None or result.timer.suspended is Suspension.NONE:
                return
            await asyncio.sleep(1.0)

    def rows(self) -> list[Timer]:
        return [row for group_id in self.scenario.groups for row in self.database.rows(group_id)]

    def unsettled(self) -> list[Timer]:
        """Rows that are neither finished nor waiting for a schedule's next occurrence."""
        now = self.clock.now()
        return [
            row
            for row in self.rows()
            if row.state not in FINISHED
            and not (row.schedule is not None and row.state is TimerState.PENDING and row.due_at > now)
        ]

    def _is_settled(self) -> bool:
        return not self.unsettled()

    async def _until(self, done: Callable[[], bool], within: float, otherwise: str) -> None:
        deadline = self.loop.time() + within
        while not done():
            if self.loop.time() > deadline:
                self.history.violations.append(otherwise)
                return
            await asyncio.sleep(0.5)


@dataclass(slots=True)
class Asking:
    """A process that asks the store, again and again until it has an answer."""

    loop: VirtualLoop
    process: Process
    store: Store

    def later(self, at: float, work: Callable[[], Awaitable[Any]]) -> None:
        """Starts work in this process at an instant."""
        self.loop.call_exactly(at - self.loop.time(), self._start, work, context=WORLD)

    def _start(self, work: Callable[[], Awaitable[Any]]) -> None:
        async def run() -> None:
            await work()

        _ = self.loop.spawn(self.process, run(), f"{self.process.name}/work")

    async def ask(self, call: Callable[[Store], Awaitable[T]]) -> T:
        while True:
            try:
                return await call(self.store)
            except StoreError:
                await asyncio.sleep(0.2)
