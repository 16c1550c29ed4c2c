"""The receiver's process (`sink`), seen from the benchmark; and a target that no connection reaches."""

from __future__ import annotations

import contextlib
import http.client
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import Any
from urllib.parse import urlsplit

import orjson

from bench.tracks import Figures
from tests.support.postgres import free_port
from tests.support.waiting import eventually_blocking

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where callbacks go; `slow` is another target, which answers after a time."""

    url: str
    slow: str
    pid: int

    def wait_ready(self) -> None:
        """Returns once it answers."""
        eventually_blocking(lambda: _answers(self))

    def reset(self) -> None:
        """Forgets all that has arrived."""
        self._get("/reset")

    def count(self, track: str) -> int:
        found: int = self._get(f"/count?track={track}")
        return found

    def summary(self, track: str) -> Figures:
        """See `Track.summary`."""
        found: Figures = self._get(f"/summary?track={track}")
        return found

    def series(self, track: str, step: float) -> list[tuple[float, int, float, float]]:
        """See `Track.series`."""
        return [(at, count, p50, p99) for at, count, p50, p99 in self._get(f"/series?track={track}&step={step}")]

    def arrivals(self, track: str, begin: float = 0.0, end: float = inf) -> list[tuple[float, int]]:
        """See `Track.arrivals`."""
        return [(at, number) for at, number in self._get(f"/arrivals?track={track}&begin={begin}&end={end}")]

    def repeats(self, track: str) -> list[tuple[float, int]]:
        """See `Track.repeats`."""
        return [(at, number) for at, number in self._get(f"/repeats?track={track}")]

    def _get(self, path: str) -> Any:
        return orjson.loads(get(f"{self.url}{path}"))


@contextlib.contextmanager
def receiving(slow_seconds: float) -> Iterator[Receiver]:
    """Starts a receiver, without waiting for it (`wait_ready`), and ends it."""
    port, slow = free_port(), free_port()
    process = subprocess.Popen([sys.executable, "-m", "bench.sink", HOST, str(port), str(slow), str(slow_seconds)])
    receiver = Receiver(f"http://{HOST}:{port}", f"http://{HOST}:{slow}", process.pid)
    try:
        yield receiver
    finally:
        process.terminate()
        process.wait()


def _answers(receiver: Receiver) -> bool:
    try:
        receiver.reset()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def unreachable() -> Iterator[str]:
    """The address of a target on this machine to which connections time out: its queue of unaccepted ones is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((HOST, 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(64):
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0.3)
            try:
                waiting.connect(address)
            except TimeoutError:
                yield f"http://{HOST}:{address[1]}"
                return
        raise RuntimeError("connections to a full queue do not time out on this machine")


def get(url: str) -> bytes:
    """The body of a GET."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=120)
    with contextlib.closing(connection):
        connection.request("GET", f"{parts.path}?{parts.query}")
        return connection.getresponse().read()
