"""Somebody else's transaction, held open while the store works, so that both sides of a race are known to have met."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import asyncpg

from tests.support.waiting import eventually

T = TypeVar("T")


@dataclass
class Held:
    """A transaction that is open from the first statement to `end`."""

    connection: asyncpg.Connection
    commit: bool

    async def __call__(self, statement: str, *values: object) -> list[Any]:
        if not self.connection.is_in_transaction():
            await self.connection.execute("BEGIN")
        rows: list[Any] = await self.connection.fetch(statement, *values)
        return rows

    async def end(self) -> None:
        await self.connection.execute("COMMIT" if self.commit else "ROLLBACK")

    async def against(self, call: Coroutine[Any, Any, T]) -> T:
        """Starts the call, ends the transaction once the call waits for it, and answers what the call does."""
        task = asyncio.ensure_future(call)
        await eventually(lambda: waiting_backends(self.connection))
        assert not task.done()
        await self.end()
        return await task


async def waiting_backends(connection: asyncpg.Connection) -> int:
    """How many wait for a lock in this database (a transaction sees the activity of its first look, unless told)."""
    await connection.execute("SELECT pg_stat_clear_snapshot()")
    count: int = await connection.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return count
