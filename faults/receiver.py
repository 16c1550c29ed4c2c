"""The receiver's process: keeps every callback, and answers each as its timer's id asks for.

Usage: python -m faults.receiver HOST PORT SLOW_PORT SLOW_SECONDS

`retry-N` is answered 503 once or twice; `chain-N` is told to come again in a second, until `GET /end`; what comes to
SLOW_PORT is answered after SLOW_SECONDS. `GET /callbacks?from=N` answers all but the first N, as JSON objects
(`ledger.Callback`); without `from` it answers their number.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from typing import Final, cast

import orjson
import uvloop

from bench.sink import OK, content_length
from faults.ledger import Callback, Kind, seconds, text

AGAIN_AFTER: Final = 1.05
"""Seconds from a chain's callback to its next; the service takes no time sooner than in one second."""

REFUSED: Final = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"


class Book:
    """All callbacks so far, and whether chains go on."""

    def __init__(self) -> None:
        self.callbacks: list[Callback] = []
        self.ended = False

    def answer(self, head: bytes, body: bytes, at: float) -> bytes:
        """Notes a callback and says what to answer."""
        found = orjson.loads(body)
        timer_id, attempt = found["timerId"], found["attempt"]
        kind, _, number = timer_id.partition("-")
        status, last, answer = 200, True, OK
        if kind == Kind.RETRY and attempt <= 1 + int(number) % 2:
            status, answer = 503, REFUSED
        elif kind == Kind.CHAIN and not self.ended:
            last, answer = False, _again(at + AGAIN_AFTER)
        occurrence = _header(head, b"webhook-id")
        self.callbacks.append(Callback(at, timer_id, occurrence, seconds(found["executeAt"]), attempt, status, last))
        return answer


class Connection(asyncio.Protocol):
    """One keep-alive connection; requests may arrive in pieces or several at once."""

    def __init__(self, book: Book, delay: float) -> None:
        self._book = book
        self._delay = delay
        self._buffer = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        at = time.time()
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            whole = end + 4 + content_length(self._buffer, end)
            if len(self._buffer) < whole:
                return
            self._handle(self._buffer[:end], self._buffer[end + 4 : whole], at)
            self._buffer = self._buffer[whole:]

    def _handle(self, head: bytes, body: bytes, at: float) -> None:
        if head.startswith(b"GET "):
            self._say(head.split(b" ", 2)[1].decode())
            return
        answer = self._book.answer(head, body, at)
        if self._delay:
            asyncio.get_running_loop().call_later(self._delay, self._send, answer)
        else:
            self._send(answer)

    def _send(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)

    def _say(self, target: str) -> None:
        path, _, first = target.partition("?from=")
        self._book.ended |= path == "/end"
        said = orjson.dumps(self._book.callbacks[int(first) :] if first else len(self._book.callbacks))
        self._send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(said), said))


def _again(at: float) -> bytes:
    body = orjson.dumps({"ok": False, "nextExecuteAt": text(at)})
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    return head + body


def _header(head: bytes, name: bytes) -> str:
    """The value of a header that a callback carries once.

    Raises:
        ValueError: it is not there.
    """
    lower = head.lower()
    start = lower.index(b"\r\n" + name + b":") + len(name) + 3
    end = lower.find(b"\r\n", start)
    return head[start : len(head) if end < 0 else end].strip().decode()


async def main(host: str, port: int, slow_port: int, slow_seconds: float) -> None:
    book = Book()
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: Connection(book, slow_seconds), host, slow_port, backlog=1024)
    server = await loop.create_server(lambda: Connection(book, 0.0), host, port, backlog=1024)
    gc.freeze()
    gc.disable()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
