"""A callback receiver that costs little: answers 200 to every POST and keeps when it arrived and how late.

Usage: python -m bench.sink HOST PORT SLOW_PORT SLOW_SECONDS

What comes to SLOW_PORT is answered after SLOW_SECONDS. A POST to `/v1/traces` (a collector's) is answered and forgotten.
`GET /reset` forgets everything; `GET /count`, `/summary`, `/series`, `/arrivals` and `/repeats`, each with `?track=NAME`
(series with `&step=SECONDS`, arrivals with `&begin=` and `&end=` where not all are wanted), answer JSON (see `tracks`).
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from functools import partial
from typing import cast
from urllib.parse import parse_qs, urlsplit

import orjson
import uvloop

from bench.tracks import Tracks

OK = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{"ok":true}'
NOTHING = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


class Connection(asyncio.Protocol):
    """One keep-alive connection; requests may arrive in pieces or several at once."""

    def __init__(self, tracks: Tracks, delay: float) -> None:
        self._tracks = tracks
        self._delay = delay
        self._buffer = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        at = time.time()
        buffer = self._buffer + data if self._buffer else data
        while (end := buffer.find(b"\r\n\r\n")) >= 0:
            length = content_length(buffer, end)
            if len(buffer) < end + 4 + length:
                break
            self._answer(buffer[:end], buffer[end + 4 : end + 4 + length], at)
            buffer = buffer[end + 4 + length :]
        self._buffer = buffer

    def _answer(self, head: bytes, body: bytes, at: float) -> None:
        if head.startswith(b"GET "):
            self._say(head.split(b" ", 2)[1].decode())
        elif head.startswith(b"POST /v1/traces"):
            self._transport.write(NOTHING)
        else:
            self._tracks.add(at, body)
            if self._delay:
                asyncio.get_running_loop().call_later(self._delay, self._late)
            else:
                self._transport.write(OK)

    def _late(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(OK)

    def _say(self, target: str) -> None:
        parts = urlsplit(target)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        said = orjson.dumps(_answered(self._tracks, parts.path, asked))
        self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(said), said))


def _answered(tracks: Tracks, path: str, asked: dict[str, str]) -> object:
    track = tracks.get(asked.get("track", ""))
    match path:
        case "/count":
            return len(track)
        case "/summary":
            return track.summary()
        case "/series":
            return track.series(float(asked["step"]))
        case "/arrivals":
            return track.arrivals(float(asked.get("begin", 0)), float(asked.get("end", "inf")))
        case "/repeats":
            return track.repeats()
        case "/reset":
            tracks.clear()
            return None
        case _:
            raise ValueError(f"no such path: {path}")


def content_length(buffer: bytes, end: int) -> int:
    """Of a request whose head ends at `end`; clients write the name in lower case or as HTTP/1.1 prints it."""
    for name in (b"content-length:", b"Content-Length:"):
        if (mark := buffer.find(name, 0, end)) >= 0:
            return int(buffer[mark + 15 : buffer.find(b"\r\n", mark)])
    return 0


async def main(host: str, port: int, slow_port: int, slow_seconds: float) -> None:
    tracks = Tracks()
    loop = asyncio.get_running_loop()
    await loop.create_server(partial(Connection, tracks, slow_seconds), host, slow_port, backlog=1024)
    server = await loop.create_server(partial(Connection, tracks, 0.0), host, port, backlog=1024)
    gc.freeze()
    gc.disable()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
