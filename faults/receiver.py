"""The receiver's process: keeps every callback, and answers each as its timer's id asks for.

Usage: python -m faults.receiver HOST PORT SLOW_PORT SLOW_SECONDS

`retry-N` is answered 503 once or twice; `chain-N` is told to come again in a second or in three, until `GET /end`; what comes to
SLOW_PORT is answered after SLOW_SECONDS. `GET /callbacks?from=N` answers all but the first N, as JSON objects
(`ledger.Callback`); without `from` it answers their number.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import orjson

from bench.wire import OK, Connection, main
from faults.ledger import Callback, Kind, seconds, text

AGAIN_AFTER: Final = (3.05, 1.05)
"""Seconds from a chain's callback to its next, by its number modulo 2. The service takes no time sooner than a second
after it has read the answer, so only the longer one is sure to be taken as it is (`sequels`)."""

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
        status, asked, answer = 200, None, OK
        if kind == Kind.RETRY and attempt <= 1 + int(number) % 2:
            status, answer = 503, REFUSED
        elif kind == Kind.CHAIN and not self.ended:
            asked = seconds(text(at + AGAIN_AFTER[int(number) % 2]))
            answer = _again(asked)
        occurrence = _header(head, b"webhook-id")
        self.callbacks.append(Callback(at, timer_id, occurrence, seconds(found["executeAt"]), attempt, status, asked))
        return answer


class Receiver(Connection):
    """A connection whose callbacks are kept in the book."""

    def __init__(self, book: Book, delay: float) -> None:
        super().__init__(delay)
        self._book = book

    def post(self, head: bytes, body: bytes, at: float) -> bytes:
        return self._book.answer(head, body, at)

    def get(self, target: str) -> object:
        path, _, first = target.partition("?from=")
        self._book.ended |= path == "/end"
        return self._book.callbacks[int(first) :] if first else len(self._book.callbacks)


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


if __name__ == "__main__":
    main(partial(Receiver, Book()))
