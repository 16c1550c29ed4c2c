"""A callback receiver that costs little: answers 200 to every POST and keeps when it arrived and how late.

Usage: python -m bench.sink HOST PORT SLOW_PORT SLOW_SECONDS

What comes to SLOW_PORT is answered after SLOW_SECONDS. A POST to `/v1/traces` (a collector's) is answered and forgotten.
`GET /reset` forgets everything; `GET /count`, `/summary`, `/series`, `/arrivals` and `/repeats`, each with `?track=NAME`
(series with `&step=SECONDS`, arrivals with `&begin=` and `&end=` where not all are wanted), answer JSON (see `tracks`).
"""

from __future__ import annotations

from functools import partial
from urllib.parse import parse_qs, urlsplit

from bench.tracks import Tracks
from bench.wire import OK, Connection, main

NOTHING = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


class Sink(Connection):
    """A connection whose callbacks are kept in tracks."""

    def __init__(self, tracks: Tracks, delay: float) -> None:
        super().__init__(delay)
        self._tracks = tracks

    def post(self, head: bytes, body: bytes, at: float) -> bytes:
        if head.startswith(b"POST /v1/traces"):
            return NOTHING
        self._tracks.add(at, body)
        return OK

    def get(self, target: str) -> object:
        parts = urlsplit(target)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        return _answered(self._tracks, parts.path, asked)


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


if __name__ == "__main__":
    main(partial(Sink, Tracks()))
