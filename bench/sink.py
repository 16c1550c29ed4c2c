"""A callback receiver that costs little: answers 200 to every POST and keeps when it arrived and what it said.

Usage: python -m bench.sink HOST PORT

`GET /stats` answers JSON (see `summary`), `GET /reset` forgets. Anything else is a callback.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from datetime import datetime
from itertools import pairwise
from typing import cast

import orjson
import uvloop

OK = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{"ok":true}'


class Arrivals:
    """What has arrived: seconds since 1970 and the body, of each callback."""

    def __init__(self) -> None:
        self.all: list[tuple[float, bytes]] = []

    def summary(self) -> dict[str, object]:
        """Counts, lateness in ms (arrival less `executeAt`), the rate since the first was due, the longest gap in s."""
        if not self.all:
            return {"callbacks": 0}
        late, ids, dues = [], set(), []
        for at, body in self.all:
            said = orjson.loads(body)
            due = datetime.fromisoformat(said["executeAt"]).timestamp()
            late.append((at - due) * 1000)
            dues.append(due)
            ids.add(said["timerId"])
        times = [at for at, _ in self.all]
        ranked = sorted(late)
        count = len(late)
        return {
            "callbacks": count,
            "duplicates": count - len(ids),
            "early": sum(ms < 0 for ms in late),
            "per_second": round(count / max(1e-9, max(times) - min(dues)), 1),
            "late_ms": {
                "p50": round(ranked[count // 2], 2),
                "p99": round(ranked[count * 99 // 100], 2),
                "max": round(ranked[-1], 2),
            },
            "longest_gap_s": round(max((b - a for a, b in pairwise(times)), default=0.0), 3),
        }


class Connection(asyncio.Protocol):
    """One keep-alive connection; requests may arrive in pieces or several at once."""

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._buffer = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        at = time.time()
        buffer = self._buffer + data
        while (end := buffer.find(b"\r\n\r\n")) >= 0:
            head = buffer[:end].lower()
            length = 0
            if (mark := head.find(b"content-length:")) >= 0:
                length = int(head[mark + 15 :].split(b"\r\n", 1)[0])
            if len(buffer) < end + 4 + length:
                break
            self._answer(head, buffer[end + 4 : end + 4 + length], at)
            buffer = buffer[end + 4 + length :]
        self._buffer = buffer

    def _answer(self, head: bytes, body: bytes, at: float) -> None:
        if head.startswith(b"get /stats"):
            said = orjson.dumps(self._arrivals.summary())
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(said), said))
        elif head.startswith(b"get /reset"):
            self._arrivals.all.clear()
            self._transport.write(OK)
        else:
            self._arrivals.all.append((at, body))
            self._transport.write(OK)


async def main(host: str, port: int) -> None:
    arrivals = Arrivals()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(arrivals), host, port)
    gc.freeze()
    gc.disable()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
