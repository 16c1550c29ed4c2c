"""A TCP proxy that can be told to hold back what goes one way, and to deliver it late.

What is held back goes on when the way is open again, as TCP would send it once more: also what was asked over a
connection that its client has given up meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Final

PIECE: Final = 1 << 16


class Way:
    """One direction: open or shut, with a delay in seconds."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self.delay = 0.0

    def shut(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carries everything from one side to the other, until its end, which arrives in turn."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(self._read(reader, queue))
            await self._write(queue, writer)
            reading.cancel()

    async def _read(self, reader: asyncio.StreamReader, queue: asyncio.Queue[tuple[float, bytes]]) -> None:
        loop = asyncio.get_running_loop()
        piece = b"-"
        while piece:
            try:
                piece = await reader.read(PIECE)
            except OSError:
                piece = b""
            queue.put_nowait((loop.time() + self.delay, piece))

    async def _write(self, queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while True:
            at, piece = await queue.get()
            if (wait := at - loop.time()) > 0:
                await asyncio.sleep(wait)
            await self._open.wait()
            if not piece or writer.is_closing():
                writer.close()
                return
            with contextlib.suppress(OSError):
                writer.write(piece)
                await writer.drain()


@dataclass(slots=True)
class Proxy:
    """Listens on a free loopback port; made and used on one loop."""

    host: str
    port: int
    requests: Way = field(default_factory=Way)
    answers: Way = field(default_factory=Way)
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> int:
        """Begins to listen; the port."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Listens no more, and cuts all connections."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a connection is handled in a task")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.closing(writer):
            try:
                there, back = await asyncio.open_connection(self.host, self.port)
            except OSError:
                return
            with contextlib.closing(back), contextlib.suppress(asyncio.CancelledError):  # streams take it for a failure
                await asyncio.gather(self.requests.carry(reader, back), self.answers.carry(there, writer))
