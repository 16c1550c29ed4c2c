"""A group's pages listed, and its failed timers redriven by filter, over and over."""

from __future__ import annotations

import http.client
import time
from typing import Any
from urllib.parse import quote, urlsplit

import orjson

PAGE = 1000


class Caller:
    """One connection to the bridge; keeps how long each answer took."""

    def __init__(self, bridge: str) -> None:
        parts = urlsplit(bridge)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        self._took: list[float] = []

    def call(self, method: str, path: str, body: dict[str, object] | None = None) -> dict[str, Any]:
        """The answer's JSON.

        Raises:
            RuntimeError: the status is not 200.
        """
        begun = time.perf_counter()
        headers = {} if body is None else {"content-type": "application/json"}
        self._connection.request(method, path, None if body is None else orjson.dumps(body), headers)
        answer = self._connection.getresponse()
        said = answer.read()
        self._took.append(time.perf_counter() - begun)
        if answer.status != http.client.OK:
            raise RuntimeError(f"{method} {path} was answered {answer.status}: {said[:500]!r}")
        found: dict[str, Any] = orjson.loads(said)
        return found

    def close(self) -> None:
        self._connection.close()

    def figures(self, what: str) -> dict[str, float]:
        """How many calls, and how long they took in ms."""
        ranked = sorted(self._took) or [0.0]
        return {
            f"{what}_calls": len(self._took),
            f"{what}_p50_ms": round(ranked[len(ranked) // 2] * 1000, 1),
            f"{what}_max_ms": round(ranked[-1] * 1000, 1),
        }


class ListPages:
    """Walks through all pages of the failed timers, again from the start at their end."""

    def __init__(self, bridge: str, group: str) -> None:
        self._caller = Caller(bridge)
        self._path = f"/api/v1/groups/{group}/timers?state=failed&pageSize={PAGE}"
        self._token: str | None = None
        self._listed = 0

    def next(self) -> None:
        more = "" if self._token is None else f"&pageToken={quote(self._token)}"
        page = self._caller.call("GET", self._path + more)
        self._token = page["nextPageToken"]
        self._listed += len(page["timers"])

    def close(self) -> None:
        self._caller.close()

    def figures(self) -> dict[str, float]:
        return {"listed": self._listed, **self._caller.figures("list")}


class Redrives:
    """Redrives the failed timers by filter, a piece with each call."""

    def __init__(self, bridge: str, group: str) -> None:
        self._caller = Caller(bridge)
        self._path = f"/api/v1/groups/{group}/timers:redrive"
        self._token: str | None = None
        self._redriven = 0

    def next(self) -> None:
        body: dict[str, object] = {"filter": {}}
        if self._token is not None:
            body["pageToken"] = self._token
        piece = self._caller.call("POST", self._path, body)
        self._token = piece["nextPageToken"]
        self._redriven += piece["count"]

    def close(self) -> None:
        self._caller.close()

    def figures(self) -> dict[str, float]:
        return {"redriven": self._redriven, **self._caller.figures("redrive")}
