"""The timers that a benchmark creates over REST, and the requests that do it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import orjson

from bench import load

GROUP = "bench"
BATCH = 500
FAR = datetime(2099, 1, 1, tzinfo=UTC)
PAYLOAD = {"hello": "world"}


def new_track() -> str:
    """A name that no timer's id begins with yet."""
    return uuid.uuid4().hex[:12]


def create(track: str, number: int, due: datetime, url: str, group: str = GROUP) -> bytes:
    """A request that creates one timer."""
    return load.request("POST", f"/api/v1/groups/{group}/timers", orjson.dumps(timer(track, number, due, url)))


def creates(track: str, url: str, group: str = GROUP) -> Iterator[bytes]:
    """Requests without end, each of which creates one timer of the far future."""
    number = 0
    while True:
        yield create(track, number, FAR, url, group)
        number += 1


def create_batches(
    track: str, dues: Sequence[datetime], url: str, *, first: int = 0, size: int = BATCH, group: str = GROUP
) -> list[bytes]:
    """Requests that create timers by `:batch`, numbered from `first` in the order of `dues`."""
    timers = [timer(track, number, due, url) for number, due in enumerate(dues, first)]
    return [
        load.request("POST", f"/api/v1/groups/{group}/timers:batch", orjson.dumps({"timers": timers[i : i + size]}))
        for i in range(0, len(timers), size)
    ]


def cancels(track: str, count: int, *, size: int = 1000, group: str = GROUP) -> list[bytes]:
    """Requests that cancel a track's timers by `:cancel`."""
    ids = [f"{track}-{number}" for number in range(count)]
    return [
        load.request("POST", f"/api/v1/groups/{group}/timers:cancel", orjson.dumps({"ids": ids[i : i + size]}))
        for i in range(0, count, size)
    ]


def timer(track: str, number: int, due: datetime, url: str) -> dict[str, object]:
    """A create's body."""
    return {"id": f"{track}-{number}", "executeAt": due, "callbackUrl": f"{url}/cb", "payload": PAYLOAD}
