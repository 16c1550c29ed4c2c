"""The database behind the service, seen directly: rows by the million, its processes, a transaction held open."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, Protocol

import orjson

from bench.timers import GROUP, PAYLOAD

PIECE: Final = 50_000
"""Rows that one statement writes."""

COLUMNS: Final = (
    "timer_id", "shard", "uid", "execute_at", "due_at", "group_id", "callback_url", "state", "executed_at",
    "callback_timeout", "payload", "fingerprint", "created_at", "updated_at", "version", "occurrence", "attempt",
    "suspended", "cancel_requested",
)  # fmt: skip


class State(Enum):
    """A row's state, by its number in the tables."""

    PENDING = 0
    COMPLETED = 2
    FAILED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """Rows to write: `<track>-<first>` and the `count - 1` after it, the first due at `due`, each `step` after the last.

    Finished ones were executed when they were due.
    """

    track: str
    count: int
    due: datetime
    url: str
    step: timedelta = timedelta(0)
    first: int = 0
    state: State = State.PENDING
    timeout: timedelta | None = None
    group: str = GROUP
    shards: int = 16

    def pieces(self) -> Iterator[tuple[int, int]]:
        """First and last number of each piece."""
        end = self.first + self.count
        for begin in range(self.first, end, PIECE):
            yield begin, min(begin + PIECE, end) - 1


class Database(Protocol):
    """Blocking, over connections of its own; usable by the thread that made it."""

    def fill(self, rows: Fill, wrote: Callable[[int], None] = ...) -> None:
        """Writes rows, in pieces, and says after each how many so far. Their shards follow from their numbers."""

    def count(self, group: str, state: State, track: str | None = None) -> int:
        """Rows of a track, or of all, in a state."""

    def untried(self, group: str, track: str) -> int:
        """Rows of a track that wait for their first attempt."""

    def analyze(self) -> None:
        """Renews the planner's statistics, and ends what is still to be done of earlier writes, where it may."""

    def owners(self, group: str) -> dict[int, str]:
        """Who owns which shard, by the names of members."""

    def hold(self) -> contextlib.AbstractContextManager[None]:
        """A transaction that has read, held open."""

    def activity(self) -> list[str]:
        """What each busy connection of the service waits for now, "running" where it waits for nothing."""

    def table(self) -> dict[str, int]:
        """The size of the table of timers with its indexes in bytes (`bytes`), and what the database tells of its rows."""

    def server(self) -> int | None:
        """The id of the database's first process, when it runs on this machine on its own."""

    def version(self) -> str: ...

    def close(self) -> None: ...


def payload() -> bytes:
    """The payload of a filled row."""
    return orjson.dumps(PAYLOAD)
