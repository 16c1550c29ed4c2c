"""How much of requests' bodies may be held at once: those for which there is no room wait for their turn, for a while."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import Final

from aiohttp import web

from durable_timer.models import limits
from durable_timer_api.problems import Code, Problem

SMALL: Final = 64 * 1024
"""Bytes; bodies up to this are bounded by the number of connections."""

_PATIENCE: Final = 2.0
"""Seconds that a body waits for room."""


_INFLATION_MAX: Final = 1032
"""How many times its size a gzip stream may have unpacked."""


def is_gzip(request: web.Request) -> bool:
    """Whether the body says that it is to be unpacked."""
    return request.headers.get("Content-Encoding", "").lower() == "gzip"


def announced(request: web.Request, limit: int) -> int | None:
    """Bytes of room that a body of at most `limit` bytes takes by what the headers say; None where they do not say.

    A gzip has them as far as it may unpack to them.
    """
    length = request.content_length
    if is_gzip(request):
        length = limit if length is None else length * _INFLATION_MAX
    if length is None:
        return None if request.body_exists else 0
    return 0 if length <= SMALL else min(length, limit)


class Room:
    """`size` bytes; whoever `enter`s has to `leave`. First come, first served."""

    def __init__(self, size: int = limits.BODIES_MAX_BYTES) -> None:
        self._free = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def enter(self, size: int) -> None:
        """Waits until there is room for so many bytes, and takes it.

        Raises:
            Problem: NOT_READY, when others took all room for too long.
        """
        if not self._waiting and size <= self._free:
            self._free -= size
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            async with asyncio.timeout(_PATIENCE):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self.leave(size)
            else:
                with suppress(ValueError):  # it was passed over already, by one that left at this moment
                    self._waiting.remove((size, turn))
                self._admit()
            if isinstance(error, TimeoutError):
                raise Problem(
                    Code.NOT_READY,
                    "the bodies of other requests take all the room there is; nothing of this one was done",
                    headers={"Connection": "close"},
                ) from None
            raise

    def leave(self, size: int) -> None:
        """Gives room back."""
        self._free += size
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._free:
            size, turn = self._waiting.popleft()
            if not turn.done():
                self._free -= size
                turn.set_result(None)


class Lease:
    """What one request holds of the room; whoever reads its body takes it. `end` it with the request."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._size = 0

    async def take(self, size: int) -> None:
        """As `Room.enter`."""
        await self._room.enter(size)
        self._size += size

    def end(self) -> None:
        """Gives all of it back."""
        self._room.leave(self._size)


LEASE: Final = web.RequestKey("lease", Lease)
"""The lease of a request whose body may be more than small."""
