"""Wake-ups: NOTIFY to the processes that listen, by a connection of its own.

Sent after a write's commit and not within it, because commits that carry a NOTIFY queue behind one lock of the whole
database. A wake-up is a hint: what cannot be sent is forgotten, and a listener that was cut off wakes every group.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from typing import Final

from durable_timer.errors import StoreError
from durable_timer.models.timer import Suspension, Timer, TimerState
from durable_timer.stores.base import WakeListener
from durable_timer.stores.postgresql import statements
from durable_timer.stores.postgresql.connections import DRIVER_ERRORS, Connection, Connections

CHANNEL: Final = "durable_timer"
PAYLOAD_MAX: Final = 7999
"""Bytes; PostgreSQL refuses 8,000."""

SOON: Final = timedelta(seconds=2)
"""What becomes due later than this after its write is found by the probes in time."""

_SPACING: Final = 0.01
_CALL_TIMEOUT: Final = 2.0
_ASK_EACH: Final = 15.0
_BACKOFF: Final = (0.05, 2.0)


class WakeUps:
    """Gathers wake-ups into one NOTIFY each ten milliseconds at most, and hands on those of all processes.

    One task holds the connection from the first wake-up or listener until `close`. It asks the server for a sign of
    life each 15 s, since a listener that is cut off by a silent network would never know.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._listeners: list[WakeListener] = []
        self._waiting: dict[str, set[int] | None] = {}
        self._asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def due(self, timer: Timer) -> None:
        """For a timer as it was written at `updated_at`: wakes its shard if it is in the queue and due soon."""
        if (
            timer.due_at - timer.updated_at <= SOON
            and timer.state is TimerState.PENDING
            and timer.suspended is not Suspension.SUSPENDED
        ):
            self.shards(timer.group_id, (timer.shard,))

    def shards(self, group_id: str, shards: Iterable[int]) -> None:
        """Wakes shards of a group."""
        waiting = self._waiting.setdefault(group_id, set())
        if waiting is not None:
            waiting.update(shards)
        self._ask()

    def group(self, group_id: str) -> None:
        """Wakes all shards of a group."""
        self._waiting[group_id] = None
        self._ask()

    def listen(self, listener: WakeListener) -> Callable[[], None]:
        """See `Store.listen`."""
        self._listeners.append(listener)
        self._ask()

        def end() -> None:
            with suppress(ValueError):
                self._listeners.remove(listener)

        return end

    async def close(self) -> None:
        """Ends the task and gives up the connection; wake-ups not yet sent are forgotten."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def _ask(self) -> None:
        self._asked.set()
        if self._task is None and not self._closed:
            self._task = asyncio.get_running_loop().create_task(self._serve(), name="wake-ups")

    async def _serve(self) -> None:
        delay, listened = _BACKOFF[0], False
        while True:
            connection: Connection = None
            try:
                connection = await self._connections.connect()
                delay = _BACKOFF[0]
                listened = await self._hold(connection, was_cut_off=listened)
            except (StoreError, *DRIVER_ERRORS):
                self._waiting.clear()
                await asyncio.sleep(random.uniform(delay / 2, delay))  # noqa: S311 (jitter)
                delay = min(2 * delay, _BACKOFF[1])
            finally:
                if connection is not None:
                    connection.terminate()

    async def _hold(self, connection: Connection, *, was_cut_off: bool) -> bool:
        """Sends and listens until the connection is lost; whether it listened."""
        lost = False

        def lose(_connection: object) -> None:
            nonlocal lost
            lost = True
            self._asked.set()

        connection.add_termination_listener(lose)
        listening = False
        while not lost:
            async with asyncio.timeout(_CALL_TIMEOUT):
                if self._listeners and not listening:
                    await connection.add_listener(CHANNEL, self._heard)
                    listening = True
                    if was_cut_off:
                        await self._wake_all(connection)
                await self._send(connection)
            await asyncio.sleep(_SPACING)
            await self._next(connection)
        return listening or was_cut_off

    async def _next(self, connection: Connection) -> None:
        """Waits until there is something to do; an idle connection has to show that it is alive."""
        try:
            async with asyncio.timeout(_ASK_EACH):
                await self._asked.wait()
        except TimeoutError:
            async with asyncio.timeout(_CALL_TIMEOUT):
                await connection.fetchval(statements.NOW)

    async def _send(self, connection: Connection) -> None:
        self._asked.clear()
        waiting, self._waiting = self._waiting, {}
        if waiting:
            payloads = [payload(group_id, shards) for group_id, shards in waiting.items()]
            await connection.execute(statements.NOTIFY, CHANNEL, payloads)

    async def _wake_all(self, connection: Connection) -> None:
        for row in await connection.fetch(statements.ACTIVE_GROUPS):
            self._call(row[0], ())

    def _heard(self, _connection: object, _pid: int, _channel: str, text: str) -> None:
        group_id, *shards = text.split()
        self._call(group_id, tuple(map(int, shards)))

    def _call(self, group_id: str, shards: tuple[int, ...]) -> None:
        for listener in tuple(self._listeners):
            listener(group_id, shards)


def payload(group_id: str, shards: Iterable[int] | None) -> str:
    """`group_id shard shard …`; the group alone, which stands for all its shards, when that is too long."""
    text = " ".join([group_id, *map(str, sorted(shards or ()))])
    return text if len(text) <= PAYLOAD_MAX else group_id
