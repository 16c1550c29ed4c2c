"""Turns for work of many rows, so that it leaves this process, and the machine, to single requests half of the time."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Final

from durable_timer_api.problems import Code, Problem

FEW: Final = 100
"""Rows with which work takes no turn."""

REST_MAX: Final = 0.1
"""Longest rest in seconds after a turn."""


class Turns:
    """One turn at a time, first come, first served; after each nobody has one for as long as it took.

    `patience` is how long in seconds somebody waits for one.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._free = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def turn(self, rows: int) -> AsyncIterator[None]:
        """Waits for a turn, when the work may be of more than a few rows; it ends as the context does.

        Raises:
            Problem: NOT_READY, when others had it for too long.
        """
        if rows <= FEW:
            yield
            return
        try:
            async with asyncio.timeout(self._patience):
                await self._free.acquire()
        except TimeoutError:
            raise Problem(Code.NOT_READY, "other work of many timers goes first; nothing of this was done") from None
        begun = time.monotonic()
        try:
            yield
        finally:
            rest = min(REST_MAX, time.monotonic() - begun)
            asyncio.get_running_loop().call_later(rest, self._free.release)
