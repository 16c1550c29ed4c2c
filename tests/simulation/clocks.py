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
        self.offset = timedelta(0)
        """By how much it differs from a clock that never stepped."""

    def now(self) -> datetime:
        return self.at(self._loop.time(), self.offset)

    def at(self, time: float, offset: timedelta) -> datetime:
        """What it shows, or would have shown, at a virtual time under an offset."""
        return EPOCH + offset + timedelta(microseconds=int(time * 1_000_000))

    def step_back(self, by: timedelta) -> None:
        self.offset -= by
