"""Makes the weather: decides when and to whom things happen, and writes each down as a fault."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from tests.simulation.clocks import StoreClock
from tests.simulation.executors import Executors, Running
from tests.simulation.history import Fault, History
from tests.simulation.loop import Process, VirtualLoop
from tests.simulation.network import Network
from tests.simulation.scenario import Scenario

BEGIN: Final = 3.0
LAG_SECONDS: Final = 0.5
AHEAD: Final = 0.15
STEP: Final = timedelta(seconds=2)


@dataclass(slots=True)
class Storm:
    """Schedules all weather of a scenario when it starts."""

    loop: VirtualLoop
    scenario: Scenario
    network: Network
    executors: Executors
    history: History
    clock: StoreClock
    rng: random.Random

    def start(self) -> None:
        weather = self.scenario.weather
        for rate, plan in (
            (weather.kills, self._planned(self._kill)),
            (weather.stops, self._planned(self._stop)),
            (weather.bursts, self._planned(self._burst)),
            (weather.cuts, self._planned(self._cut)),
            (weather.outages, self._planned(self._outage)),
            (weather.pauses, self._plan_pause),
            (weather.step_back, self._planned(self._step_back)),
        ):
            for _ in range(int(rate) + (self.rng.random() < rate % 1)):
                plan()

    def _planned(self, happen: Callable[[], None]) -> Callable[[], None]:
        return lambda: self._at(self._when(), happen)

    def _when(self) -> float:
        if self.rng.random() < self.scenario.weather.aim:
            return self.rng.choice(self.scenario.rushes) + self.rng.uniform(-AHEAD, 0.5 * AHEAD)
        return self.rng.uniform(BEGIN, self.scenario.seconds - 1.0)

    def pause(self, process: Process, seconds: float) -> None:
        """Withholds a process for a while."""
        if process.paused or not process.alive:
            return
        self.loop.pause(process)
        self._fault("pause", process.name, seconds)
        self.loop.call_exactly(seconds, self._resume, process)

    def _at(self, when: float, happen: Callable[[], None]) -> None:
        def unless_calm() -> None:
            if not self.network.calm:
                happen()

        self.loop.call_exactly(when - self.loop.time(), unless_calm)

    def _pick(self, *, staying: bool = False) -> Running | None:
        among = [running for running in self.executors.running if not (staying and running.leaving)]
        return self.rng.choice(among) if among else None

    def _fault(self, kind: str, name: str | None, seconds: float = 0.0) -> None:
        now = self.loop.time()
        self.history.faults.append(Fault(kind, name, now, now + seconds))
        self.history.line(name or "world", f"* {kind} for {seconds:.3f} s")

    def _kill(self) -> None:
        if running := self._pick():
            self.executors.kill(running)

    def _stop(self) -> None:
        if running := self._pick(staying=True):
            self.executors.stop(running)

    def _burst(self) -> None:
        self._stop()
        self._at(self.loop.time() + self.rng.uniform(0.01, 1.2), self._stop)

    def _cut(self) -> None:
        if running := self._pick():
            name, seconds = running.process.name, self.rng.uniform(*self.scenario.weather.cut_span)
            self.network.cut[name] = self.network.cut.get(name, 0) + 1
            self._fault("cut", name, seconds)
            self.loop.call_exactly(seconds, self._mend, name)

    def _mend(self, name: str) -> None:
        self.network.cut[name] -= 1

    def _outage(self) -> None:
        seconds = self.rng.uniform(*self.scenario.weather.cut_span)
        self.network.outages += 1
        self._fault("outage", None, seconds)
        self.loop.call_exactly(seconds, self._end_outage)

    def _end_outage(self) -> None:
        self.network.outages -= 1

    def _plan_pause(self) -> None:
        """Begins at an instant, or ends at it; perhaps after a lag."""
        seconds = self.rng.uniform(*self.scenario.weather.pause_span)
        when = self._when() - self.rng.choice((0.0, 0.0, seconds))
        self._at(when - LAG_SECONDS, lambda: self._lag(seconds))

    def _lag(self, seconds: float) -> None:
        running = self._pick()
        if running is None:
            return
        name, lagging = running.process.name, self.network.lagging
        lags = self.rng.random() < self.scenario.weather.lag
        lagging[name] = lagging.get(name, 0) + lags

        def pause() -> None:
            lagging[name] -= lags
            self.pause(running.process, seconds)

        self._at(self.loop.time() + LAG_SECONDS, pause)

    def _resume(self, process: Process) -> None:
        self.history.line(process.name, "* resumes")
        self.loop.resume(process)

    def _step_back(self) -> None:
        self.clock.step_back(STEP)
        self._fault("step back", None, STEP.total_seconds())
