"""The client of one fault, seen from the one who directs it, wherever it runs."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from faults.ledger import Ledger
from faults.load import Load, Targets
from faults.loop import Loop


@dataclass(frozen=True, slots=True)
class Account:
    """What a client was promised, and how many of its requests had to be repeated, by what came instead of an answer."""

    ledger: Ledger
    unanswered: Mapping[str, int]


class Client(Protocol):
    """One run of `Load`; the methods are called once each, in this order, and block."""

    def begin(self, lasts: float) -> None:
        """Creates what is due from now on for so many seconds, the chains and the schedules."""

    def run(self) -> None:
        """Begins to ask for new timers, and returns."""

    def stop(self) -> Account:
        """Asks for no more, and returns once every request was answered or given up."""

    def end(self) -> None:
        """Deletes the schedules."""


class LocalClient:
    """A client on an event loop of this process."""

    def __init__(self, loop: Loop, bridges: list[str], targets: Targets, *, scale: float, slow: float) -> None:
        async def make() -> Load:
            return Load(bridges, targets, self._ledger, scale=scale, slow=slow)

        self._loop = loop
        self._ledger = Ledger()
        self._load = loop.do(make())
        self._running: Future[None]

    def begin(self, lasts: float) -> None:
        self._loop.do(self._load.begin(lasts))

    def run(self) -> None:
        self._running = self._loop.start(self._load.run())

    def stop(self) -> Account:
        self._loop.call(self._load.stop)
        self._running.result()
        return Account(self._ledger, self._load.unanswered)

    def end(self) -> None:
        self._loop.do(self._load.end())
