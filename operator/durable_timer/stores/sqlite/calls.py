"""Calls on their way from an event loop to a thread and back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from durable_timer.errors import StoreUnavailable

T = TypeVar("T")

Work = Callable[[Any], Any]
"""Runs on a thread's connection or transaction, for one call."""

Joint = Callable[[Any, Sequence[Any]], Sequence[Any]]
"""The same for many calls at once: their arguments in order, their answers in that order."""


class Call(Generic[T]):
    """One call that waits for a thread. Its future is done early when its caller has gone.

    Exactly one of `work` and `joint` is set; `weight` is roughly how many rows it writes.
    """

    __slots__ = ("argument", "future", "joint", "urgent", "weight", "work")

    def __init__(
        self,
        work: Work | None = None,
        *,
        joint: Joint | None = None,
        argument: object = None,
        weight: int = 1,
        urgent: bool = False,
    ) -> None:
        self.future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.work = work
        self.joint = joint
        self.argument = argument
        self.weight = weight
        self.urgent = urgent

    async def answer(self, seconds: float) -> T:
        """What the thread answers.

        Raises: StoreUnavailable when that takes longer than `seconds`; what was not begun by then is not done.
        """
        late = self.future.get_loop().call_later(seconds, self._give_up, seconds)
        try:
            return await self.future
        finally:
            late.cancel()

    def _give_up(self, seconds: float) -> None:
        self.settle(StoreUnavailable(f"no answer within {seconds:g} s"))

    def settle(self, answer: T | Exception) -> None:
        """Answers, unless the caller has gone; on the loop's thread only."""
        if self.future.done():
            return
        if isinstance(answer, Exception):
            self.future.set_exception(answer)
        else:
            self.future.set_result(answer)

    def post(self, answer: Callable[..., None], *arguments: object) -> None:
        """Calls on the loop's thread, from any other; a loop that has ended waits for nothing."""
        with contextlib.suppress(RuntimeError):
            self.future.get_loop().call_soon_threadsafe(answer, *arguments)


def closed() -> StoreUnavailable:
    """What a call gets that comes after the end."""
    return StoreUnavailable("the store is closed")
