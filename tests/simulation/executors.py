"""The executors of a simulation: processes that start, stop, die and are followed by others."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from durable_timer.engine.executor import Executor
from durable_timer.engine.settings import EngineSettings
from durable_timer.metrics import Metrics
from tests.simulation.clocks import ProcessClock
from tests.simulation.history import Fault, History
from tests.simulation.loop import Process, VirtualLoop
from tests.simulation.network import Network
from tests.simulation.scenario import Scenario
from tests.simulation.targets import NoSecrets, NoTracer, SimDeliverer, Targets

HANDOVER: Final = 2.0
"""A successor of the only executor starts so long before that one is told to stop."""


@dataclass(slots=True, eq=False)
class Running:
    """A process that runs an executor. `host` lives on when it is killed, and is new after a planned stop."""

    process: Process
    executor: Executor
    place: int
    host: str | None
    leaving: bool = False
    ended: bool = False


@dataclass(slots=True)
class Executors:
    """Starts and ends executors, each in its place."""

    loop: VirtualLoop
    scenario: Scenario
    network: Network
    targets: Targets
    history: History
    rng: random.Random
    running: list[Running] = field(default_factory=list)
    over: bool = False
    _started: int = 0

    def start(self, place: int, host: str | None = None) -> None:
        """Starts a process in a place; on the same host as an earlier one where that is given."""
        self._started += 1
        scenario = self.scenario
        name = f"x{place}.{self._started}"
        process = Process(name)
        if host is None and self.rng.random() < 0.5:
            host = f"host-{self._started}"
        executor = Executor(
            store=self.network.store_for(process),
            deliverer=SimDeliverer(process, self.targets, self.history),
            secrets=NoSecrets(),
            clock=ProcessClock(self.loop, start=1000.0 * self.rng.random(), offset=self.rng.choice((-5.0, 0.0, 5.0))),
            rng=scenario.rng(f"executor-{self._started}"),
            settings=EngineSettings(
                name=name, host=host, slots=scenario.slots, slots_per_target=scenario.slots_per_target
            ),
            metrics=Metrics(),
            tracer=NoTracer(),
        )
        running = Running(process, executor, place, host)
        self.running.append(running)
        self.history.line(name, f"* starts on {host}")
        _ = self.loop.spawn(process, self._run(running), f"{name}/run")

    async def _run(self, running: Running) -> None:
        try:
            await running.executor.run()
        except Exception as error:  # noqa: BLE001 - whatever ends an executor is a finding
            self.history.violations.append(f"{running.process.name} ended by {error!r}")
        running.ended = True
        self.running.remove(running)
        self.history.line(running.process.name, "* ends")
        if not running.leaving:
            self.history.violations.append(f"{running.process.name} ended without being told to")

    def kill(self, running: Running) -> None:
        """Kills a process; another starts on its host a moment later. While none is left, the fault lasts until then."""
        now = self.loop.time()
        self.loop.crash(running.process)
        self.running.remove(running)
        self.history.line(running.process.name, "* is killed")
        delay = 0.0
        if not running.leaving:
            delay = self.rng.uniform(*self.scenario.weather.restart)
            self._later(delay, lambda: self.start(running.place, running.host))
        ends = now if self.running else now + delay
        self.history.faults.append(Fault("kill", running.process.name, now, ends))

    def stop(self, running: Running) -> None:
        """Stops a process as a rolling update does; its successor starts before, at once, or after it."""
        if running.leaving:
            return
        running.leaving = True
        staying = [other for other in self.running if not other.leaving and not other.process.paused]
        first = HANDOVER if not staying else 0.0
        self._later(0.0 if first else self.rng.choice((0.0, 0.0, 1.0)), lambda: self.start(running.place))
        self._later(first, lambda: self._tell_to_stop(running))

    def _tell_to_stop(self, running: Running) -> None:
        if not running.process.alive or running.ended:
            return
        self.history.line(running.process.name, "* is told to stop")
        self.loop.call_soon(running.executor.stop, context=running.process.context)
        if self.rng.random() < self.scenario.weather.kill_leaving:
            self._later(self.rng.uniform(0.0, 2.0), lambda: self._kill_leaving(running))

    def _kill_leaving(self, running: Running) -> None:
        if running in self.running and not self.network.calm:
            self.kill(running)

    def _later(self, delay: float, work: Callable[[], object]) -> None:
        def unless_over() -> None:
            if not self.over:
                work()

        self.loop.call_exactly(delay, unless_over)

    def stop_all(self) -> None:
        """The end of the play: everyone is told to stop."""
        self.over = True
        for running in self.running:
            running.leaving = True
            self.loop.call_soon(running.executor.stop, context=running.process.context)
