"""PostgreSQL, seen directly (see `database`)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final, TypeVar

import asyncpg

from bench import processes
from bench.database import COLUMNS, Fill, State, payload

T = TypeVar("T")

_FILL: Final = f"""
INSERT INTO timers ({", ".join(COLUMNS)})
SELECT $1::text || '-' || i, i % $2::int, i, at, at, $5::text, $6::text, $7::smallint,
  CASE WHEN $7::smallint >= 2 THEN at END, $8::bigint, $9::bytea, decode(md5(i::text), 'hex'), now(), now(),
  1, 1, 0, 0, false
FROM generate_series($10::bigint, $11::bigint) AS i, LATERAL (SELECT $3::timestamptz + i * $4::interval) AS t (at)
"""

_OWNERS: Final = """
SELECT s.shard, m.name FROM timer_shards s JOIN timer_members m ON m.incarnation = s.owner
WHERE s.group_id = $1 AND NOT m.dead
"""

_RUNNING: Final = """
SELECT t.timer_id FROM timers t JOIN timer_shards s USING (group_id, shard) JOIN timer_members m ON m.incarnation = s.owner
WHERE t.state = 1 AND m.name = $1
"""

_CONNECTIONS: Final = """
SELECT application_name, count(*) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
GROUP BY application_name
"""

_RELATIONS: Final = """
WITH sizes AS (
  SELECT c.relname, pg_table_size(c.oid) AS size, c.relname = 'timers' OR i.indrelid = 'timers'::regclass AS apart
  FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid
  WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'i')
)
SELECT CASE WHEN apart THEN relname ELSE 'other tables' END AS name, sum(size) AS size FROM sizes GROUP BY 1 ORDER BY 1
"""

_ROWS: Final = """
SELECT n_live_tup AS live, n_dead_tup AS dead, vacuum_count + autovacuum_count AS vacuums
FROM pg_stat_user_tables WHERE relname = 'timers'
"""

_ACTIVITY: Final = """
SELECT coalesce(wait_event_type || ': ' || wait_event, 'running') FROM pg_stat_activity
WHERE datname = current_database() AND state <> 'idle' AND pid <> pg_backend_pid()
"""

_OF_A_TRACK: Final = "group_id = $1 AND timer_id >= $2 AND timer_id < $3"

_TABLE: Final = """
SELECT pg_total_relation_size('timers'), n_dead_tup, autovacuum_count FROM pg_stat_user_tables WHERE relname = 'timers'
"""


class Postgresql:
    """A `Database` on one PostgreSQL database."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._url = url
        self._connection = self._do(asyncpg.connect(url))

    def fill(self, rows: Fill, wrote: Callable[[int], None] = lambda _: None) -> None:
        micros = None if rows.timeout is None else round(rows.timeout.total_seconds() * 1e6)
        for first, last in rows.pieces():
            values = (rows.track, rows.shards, rows.due - rows.first * rows.step, rows.step, rows.group)
            more = (f"{rows.url}/cb", rows.state.value, micros, payload(), first, last)
            self._do(self._connection.execute(_FILL, *values, *more))
            wrote(last + 1 - rows.first)

    def count(self, group: str, state: State, track: str | None = None) -> int:
        if track is None:
            return self._count("group_id = $1 AND state = $2", group, state.value)
        return self._count(f"state = $4 AND {_OF_A_TRACK}", group, f"{track}-", f"{track}.", state.value)

    def untried(self, group: str, track: str) -> int:
        return self._count(f"state = 0 AND attempt = 0 AND {_OF_A_TRACK}", group, f"{track}-", f"{track}.")

    def analyze(self) -> None:
        self._do(self._connection.execute("VACUUM ANALYZE timers"))
        with contextlib.suppress(asyncpg.InsufficientPrivilegeError):
            self._do(self._connection.execute("CHECKPOINT"))

    def owners(self, group: str) -> dict[int, str]:
        rows = self._do(self._connection.fetch(_OWNERS, group))
        return {row["shard"]: row["name"] for row in rows}

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        connection = self._do(asyncpg.connect(self._url))
        try:
            self._do(connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ"))
            self._do(connection.fetchval("SELECT count(*) FROM timer_groups"))
            yield
        finally:
            self._do(connection.close())

    def activity(self) -> list[str]:
        return [doing for (doing,) in self._do(self._connection.fetch(_ACTIVITY))]

    def table(self) -> dict[str, int]:
        [(size, dead, vacuums)] = self._do(self._connection.fetch(_TABLE))
        return {"bytes": size, "dead_rows": dead, "autovacuums": vacuums}

    def running(self, member: str) -> list[str]:
        """The ids of the running timers in the shards that a member, by name, owns."""
        return [timer_id for (timer_id,) in self._do(self._connection.fetch(_RUNNING, member))]

    def connections(self) -> dict[str, int]:
        """How many connections there are, by the name that their application gave."""
        rows = self._do(self._connection.fetch(_CONNECTIONS))
        return {row["application_name"]: row["count"] for row in rows}

    def relations(self) -> dict[str, int]:
        """Bytes of the table of timers, of each of its indexes, and of all other tables together."""
        return {row["name"]: int(row["size"]) for row in self._do(self._connection.fetch(_RELATIONS))}

    def rows(self) -> dict[str, int]:
        """What the server believes of the table of timers: `live` and `dead` rows; and its `vacuums`."""
        [row] = self._do(self._connection.fetch(_ROWS))
        return dict(row)

    def server(self) -> int | None:
        backend: int = self._do(self._connection.fetchval("SELECT pg_backend_pid()"))
        if processes.name(backend) != "postgres":
            return None
        return processes.parent(backend)

    def version(self) -> str:
        found: str = self._do(self._connection.fetchval("SELECT current_setting('server_version')"))
        return f"PostgreSQL {found}"

    def close(self) -> None:
        self._do(self._connection.close())
        self._loop.close()

    def _count(self, where: str, *values: object) -> int:
        count: int = self._do(self._connection.fetchval(f"SELECT count(*) FROM timers WHERE {where}", *values))
        return count

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)
