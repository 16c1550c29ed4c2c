"""The receiver's process (`receiver`), seen from those who start and ask it."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import orjson

from faults.ledger import Callback
from faults.load import Targets
from tests.support.postgres import free_port
from tests.support.waiting import eventually_blocking

HOST: Final = "127.0.0.1"
SLOW_SECONDS: Final = 8.0


@dataclass(frozen=True, slots=True)
class Receiver:
    """The receiver's process (`faults.receiver`)."""

    targets: Targets

    def count(self) -> int:
        """How many callbacks have arrived."""
        found: int = self._get("/callbacks")
        return found

    def callbacks(self, first: int = 0) -> list[Callback]:
        """All that have arrived, in order, but the first so many."""
        return [Callback(**one) for one in self._get(f"/callbacks?from={first}")]

    def end(self) -> None:
        """Ends the chains: their next callback is their last."""
        self._get("/end")

    def _get(self, path: str) -> Any:
        connection = http.client.HTTPConnection(self.targets.quick.removeprefix("http://"), timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", path)
            return orjson.loads(connection.getresponse().read())


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that answers."""
    port, slow = free_port(), free_port()
    command = [sys.executable, "-m", "faults.receiver", HOST, str(port), str(slow), str(SLOW_SECONDS)]
    process = subprocess.Popen(command)
    receiver = Receiver(Targets(f"http://{HOST}:{port}", f"http://{HOST}:{slow}"))
    try:
        eventually_blocking(lambda: _answers(receiver))
        yield receiver
    finally:
        process.terminate()
        process.wait()


def _answers(receiver: Receiver) -> bool:
    try:
        return receiver.count() == 0
    except OSError:
        return False
