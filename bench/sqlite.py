"""SQLite's file, written beside the service that has it open (see `database`)."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from bench.database import COLUMNS, Fill, State, payload

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_FILL: Final = f"""
INSERT INTO timers ({", ".join(COLUMNS)})
WITH RECURSIVE n (i) AS (SELECT :first UNION ALL SELECT i + 1 FROM n WHERE i < :last)
SELECT :track || '-' || i, i % :shards, i, :due + i * :step, :due + i * :step, :group, :url, :state,
  CASE WHEN :state >= 2 THEN :due + i * :step END, :timeout, :payload, randomblob(16), :now, :now, 1, 1, 0, 0, 0
FROM n
"""

_OWNERS: Final = """
SELECT s.shard, m.name FROM timer_shards s JOIN timer_members m ON m.incarnation = s.owner
WHERE s.group_id = ? AND NOT m.dead
"""

_OF_A_TRACK: Final = "group_id = ? AND timer_id >= ? AND timer_id < ?"


class Sqlite:
    """A `Database` in one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = self._connect()

    def fill(self, rows: Fill, wrote: Callable[[int], None] = lambda _: None) -> None:
        values = {
            "track": rows.track,
            "shards": rows.shards,
            "due": _micros(rows.due - rows.first * rows.step),
            "step": rows.step // timedelta(microseconds=1),
            "group": rows.group,
            "url": f"{rows.url}/cb",
            "state": rows.state.value,
            "timeout": None if rows.timeout is None else rows.timeout // timedelta(microseconds=1),
            "payload": payload(),
            "now": time.time_ns() // 1000,
        }
        for first, last in rows.pieces():
            self._connection.execute(_FILL, {**values, "first": first, "last": last})
            wrote(last + 1 - rows.first)

    def count(self, group: str, state: State, track: str | None = None) -> int:
        if track is None:
            return self._count("group_id = ? AND state = ?", group, state.value)
        return self._count(f"{_OF_A_TRACK} AND state = ?", group, f"{track}-", f"{track}.", state.value)

    def untried(self, group: str, track: str) -> int:
        return self._count(f"{_OF_A_TRACK} AND state = 0 AND attempt = 0", group, f"{track}-", f"{track}.")

    def analyze(self) -> None:
        self._connection.execute("ANALYZE")

    def owners(self, group: str) -> dict[int, str]:
        return dict(self._connection.execute(_OWNERS, (group,)).fetchall())

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        with contextlib.closing(self._connect()) as connection:
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM timer_groups").fetchone()
            yield

    def activity(self) -> list[str]:
        return []

    def table(self) -> dict[str, int]:
        return {"bytes": sum(path.stat().st_size for path in self._path.parent.glob(f"{self._path.name}*"))}

    def server(self) -> int | None:
        return None

    def version(self) -> str:
        return f"SQLite {sqlite3.sqlite_version}"

    def close(self) -> None:
        self._connection.close()

    def _count(self, where: str, *values: object) -> int:
        count: int = self._connection.execute(f"SELECT count(*) FROM timers WHERE {where}", values).fetchone()[0]
        return count

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=30, isolation_level=None)


def _micros(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)
