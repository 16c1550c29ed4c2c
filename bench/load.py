"""A load generator over raw sockets: keep-alive connections, one request at a time on each, made beforehand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import cast
from urllib.parse import urlsplit

import uvloop


@dataclass(frozen=True, slots=True)
class Load:
    """What came of a run: requests a second, latency in ms, and answers that were not 2xx."""

    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float
    refused: int


def request(method: str, path: str, body: bytes) -> bytes:
    """The bytes of a request with a JSON body."""
    head = f"{method} {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Schedule:
    """Hands out requests, each with how many seconds to wait before sending it: none without a rate."""

    def __init__(self, requests: Iterator[bytes], rate: float | None) -> None:
        self._requests = requests
        self._rate = rate
        self._begun = time.perf_counter()
        self._handed = 0

    def next(self) -> tuple[bytes, float] | None:
        following = next(self._requests, None)
        if following is None:
            return None
        if self._rate is None:
            return following, 0.0
        at = self._begun + self._handed / self._rate
        self._handed += 1
        return following, at - time.perf_counter()


class Client(asyncio.Protocol):
    """Sends one request after the other from a shared schedule; notes how long each answer took."""

    def __init__(self, schedule: Schedule, took: list[float], done: asyncio.Future[int]) -> None:
        self._schedule = schedule
        self._took = took
        self._done = done
        self._refused = 0
        self._buffer = b""
        self._sent = 0.0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._next()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        mark = head.find(b"content-length:")
        length = int(head[mark + 15 :].split(b"\r\n", 1)[0]) if mark >= 0 else 0
        if len(self._buffer) < end + 4 + length:
            return
        self._took.append(time.perf_counter() - self._sent)
        self._refused += head[9:10] != b"2"
        self._buffer = b""
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(exc or ConnectionError("the service closed a connection"))

    def _next(self) -> None:
        following = self._schedule.next()
        if following is None:
            if not self._done.done():
                self._done.set_result(self._refused)
            self._transport.close()
            return
        message, wait = following
        if wait > 0:
            asyncio.get_running_loop().call_later(wait, self._send, message)
        else:
            self._send(message)

    def _send(self, message: bytes) -> None:
        self._sent = time.perf_counter()
        self._transport.write(message)


def send(url: str, requests: Iterable[bytes], connections: int, rate: float | None = None) -> Load:
    """Sends all requests over so many connections, at most `rate` a second.

    Raises:
        OSError: a connection failed.
        RuntimeError: there was nothing to send.
    """
    parts = urlsplit(url)
    return uvloop.run(_send_all(parts.hostname or "", parts.port or 0, iter(requests), connections, rate))


async def _send_all(host: str, port: int, requests: Iterator[bytes], connections: int, rate: float | None) -> Load:
    loop = asyncio.get_running_loop()
    took: list[float] = []
    schedule = Schedule(requests, rate)
    begun = time.perf_counter()
    waits: list[asyncio.Future[int]] = []
    for _ in range(connections):
        done: asyncio.Future[int] = loop.create_future()
        waits.append(done)
        await loop.create_connection(partial(Client, schedule, took, done), host, port)
    refused = sum(await asyncio.gather(*waits))
    lasted = time.perf_counter() - begun
    if not took:
        raise RuntimeError("there was nothing to send")
    ranked = sorted(took)
    return Load(
        requests=len(took),
        per_second=round(len(took) / lasted, 1),
        p50_ms=round(ranked[len(ranked) // 2] * 1000, 2),
        p99_ms=round(ranked[len(ranked) * 99 // 100] * 1000, 2),
        refused=refused,
    )
