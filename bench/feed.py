"""A client that does not give up: it creates timers through several bridges in turn, until each is acknowledged."""

from __future__ import annotations

import contextlib
import http.client
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from bench import timers

SINGLES: Final = 20
"""One in so many is created on its own, the others by `:batch`."""

GIVE_UP: Final = 30.0
"""Seconds for which one request is repeated."""

PAUSE: Final = 0.005
LATER: Final = frozenset({http.HTTPStatus.TOO_MANY_REQUESTS, http.HTTPStatus.SERVICE_UNAVAILABLE})
"""Answers after which the same request may succeed."""

MADE: Final = frozenset({http.HTTPStatus.OK, http.HTTPStatus.CREATED})


class Feed:
    """Creates repeatable timers of one track: asked twice for the same, a bridge makes it once. Blocks."""

    def __init__(self, bridges: Sequence[str], target: str, track: str) -> None:
        self._connections = [_connection(bridge) for bridge in bridges]
        self._target = target
        self._track = track
        self._turn = 0
        self.acknowledged = 0
        self.repeated = 0
        """Requests sent again, because a bridge was gone or asked for it."""

        self.slowest = 0.0
        """Seconds from sending a request first to its acknowledgement, at most."""

    def put(self, first: int, dues: Sequence[datetime]) -> None:
        """Creates timers numbered from `first`, due at those times.

        Raises:
            RuntimeError: one was refused, or no bridge answered for long.
        """
        made = [timers.timer(self._track, number, due, self._target) for number, due in enumerate(dues, first)]
        singles = made[::SINGLES]
        others = [timer for place, timer in enumerate(made) if place % SINGLES]
        for timer in singles:
            self._ask("timers", timer)
        for place in range(0, len(others), timers.BATCH):
            answer = self._ask("timers:batch", {"timers": others[place : place + timers.BATCH]})
            refused = [result for result in answer["results"] if result["status"] not in MADE]
            if refused:
                raise RuntimeError(f"{len(refused)} timers were refused, such as {refused[0]}")
        self.acknowledged += len(made)

    def close(self) -> None:
        for connection in self._connections:
            connection.close()

    def _ask(self, path: str, body: dict[str, object]) -> dict[str, Any]:
        """Asks one bridge after the other."""
        data, begun = orjson.dumps(body), time.monotonic()
        while True:
            self._turn += 1
            found = self._asked(self._connections[self._turn % len(self._connections)], path, data)
            took = time.monotonic() - begun
            if found is not None:
                self.slowest = max(self.slowest, took)
                return found
            if took > GIVE_UP:
                raise RuntimeError(f"no bridge has acknowledged a request for {GIVE_UP:.0f} s")
            self.repeated += 1
            time.sleep(PAUSE)

    def _asked(self, connection: http.client.HTTPConnection, path: str, data: bytes) -> dict[str, Any] | None:
        """The answer, None when it is to be asked for again."""
        url = f"/api/v1/groups/{timers.GROUP}/{path}"
        try:
            connection.request("POST", url, data, {"content-type": "application/json"})
            answer = connection.getresponse()
            said = answer.read()
        except (OSError, http.client.HTTPException):
            with contextlib.suppress(OSError):
                connection.close()
            return None
        if answer.status in LATER:
            return None
        if answer.status not in MADE:
            raise RuntimeError(f"{url} was answered {answer.status}: {said[:500]!r}")
        found: dict[str, Any] = orjson.loads(said)
        return found


def _connection(bridge: str) -> http.client.HTTPConnection:
    parts = urlsplit(bridge)
    return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=15)
