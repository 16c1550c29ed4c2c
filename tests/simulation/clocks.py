"""The clocks of a simulation: each process's own, and the store's."""

from datetime import UTC, datetime, timedelta
from typing import Final

from tests.simulation.loop import VirtualLoop

EPOCH: Final = datetime(2030, 1, 1, 0, 0, 40, tzinfo=UTC)
"""The store's time at virtual zero: cron's minutes turn at 20, 80, 140 seconds of virtual time."""


class ProcessClock:
    """A process's clocks (`durable_timer.clock.Clock`): a wall clock that is wrong by `offset` seconds."""

    def __init__(self, loop: VirtualLoop, *, start: float, offset: float) -> None:
        self._loop = loop
        self._start = start
        self._offset = timedelta(seconds=offset)

    def monotonic(self) -> float:
        return self._start + self._loop.time()

    def now(self) -> datetime:
        return EPOCH + self._offset + timedelta(seconds=self._loop.time())


class StoreClock:
    """The store's clock, to the microsecond. It may step back."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._offset = timedelta(0)
        self._highest = EPOCH

    def now(self) -> datetime:
        return EPOCH + self._offset + timedelta(microseconds=int(self._loop.time() * 1_000_000))

    @property
    def highest(self) -> datetime:
        """The latest time it has ever shown: what "early" is measured by, since a step back undoes no firing."""
        return max(self._highest, self.now())

    def step_back(self, by: timedelta) -> None:
        self._highest = self.highest
        self._offset -= by
