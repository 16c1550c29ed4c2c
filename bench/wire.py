"""The server side of a receiver: as much of HTTP/1.1 as the service's client and a benchmark speak, at little cost."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from abc import abstractmethod
from collections.abc import Callable
from typing import cast

import orjson
import uvloop

OK = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{"ok":true}'


class Connection(asyncio.Protocol):
    """One keep-alive connection; requests may arrive in pieces or several at once. POSTs are answered after `delay` seconds."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._buffer = b""
        self._transport: asyncio.Transport

    @abstractmethod
    def post(self, head: bytes, body: bytes, at: float) -> bytes:
        """The whole answer to a POST whose last byte arrived at `at` (seconds since 1970)."""

    @abstractmethod
    def get(self, target: str) -> object:
        """What a GET is answered, as JSON."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        at = time.time()
        buffer = self._buffer + data if self._buffer else data
        while (end := buffer.find(b"\r\n\r\n")) >= 0:
            whole = end + 4 + _content_length(buffer, end)
            if len(buffer) < whole:
                break
            self._handle(buffer[:end], buffer[end + 4 : whole], at)
            buffer = buffer[whole:]
        self._buffer = buffer

    def _handle(self, head: bytes, body: bytes, at: float) -> None:
        if head.startswith(b"GET "):
            said = orjson.dumps(self.get(head.split(b" ", 2)[1].decode()))
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(said), said))
            return
        answer = self.post(head, body, at)
        if self._delay:
            asyncio.get_running_loop().call_later(self._delay, self._late, answer)
        else:
            self._transport.write(answer)

    def _late(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


def _content_length(buffer: bytes, end: int) -> int:
    """Of a request whose head ends at `end`; clients write the name in lower case or as HTTP/1.1 prints it."""
    for name in (b"content-length:", b"Content-Length:"):
        if (mark := buffer.find(name, 0, end)) >= 0:
            return int(buffer[mark + 15 : buffer.find(b"\r\n", mark)])
    return 0


async def _serve(
    make: Callable[[float], Connection], host: str, port: int, slow_port: int, slow_seconds: float
) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: make(slow_seconds), host, slow_port, backlog=1024)
    server = await loop.create_server(lambda: make(0.0), host, port, backlog=1024)
    gc.freeze()
    gc.disable()
    await server.serve_forever()


def main(make: Callable[[float], Connection]) -> None:
    """Serves until ended, as the command line says: HOST PORT SLOW_PORT SLOW_SECONDS."""
    uvloop.run(_serve(make, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
