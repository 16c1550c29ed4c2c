"""Work that many callers ask for and share, so that its cost does not grow with their number."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from durable_timer.clock import Clock

INTERVAL: Final = 1.0
"""Seconds between the beginnings of two pieces, at least."""

REST: Final = 9
"""After a piece none begins for this many times as long as it took: it costs a tenth of one connection's time at most."""


class Paced:
    """Runs `work` when somebody asks, one piece at a time, with rests; `close` ends it."""

    def __init__(self, work: Callable[[], Awaitable[None]], clock: Clock) -> None:
        self._work = work
        self._clock = clock
        self._piece: asyncio.Task[None] | None = None
        self._not_before = float("-inf")

    async def turn(self, patience: float) -> None:
        """Begins a piece when it is time for one, and waits for the piece under way, `patience` seconds at most.

        What `work` raises is raised to those who wait.
        """
        if self._piece is None and self._clock.monotonic() >= self._not_before:
            self._piece = asyncio.create_task(self._run(), name="status page")
        if self._piece is not None:
            done, _ = await asyncio.wait({self._piece}, timeout=patience)
            for piece in done:
                piece.result()

    async def close(self) -> None:
        """Ends the piece under way."""
        if self._piece is not None:
            self._piece.cancel()
            with suppress(asyncio.CancelledError):
                await self._piece

    async def _run(self) -> None:
        began = self._clock.monotonic()
        try:
            await self._work()
        finally:
            ended = self._clock.monotonic()
            self._not_before = max(began + INTERVAL, ended + REST * (ended - began))
            self._piece = None
