"""Waiting for a condition with a deadline, instead of sleeping and hoping."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")
PAUSE = 0.02


@overload
async def eventually(predicate: Callable[[], Awaitable[T]], within: float = ...) -> T: ...
@overload
async def eventually(predicate: Callable[[], T], within: float = ...) -> T: ...
async def eventually(predicate: Callable[[], object], within: float = 10.0) -> object:
    """Asks until the answer is truthy, and returns it.

    The predicate may be a coroutine function. An `AssertionError` that it raises counts as "not yet".

    Raises:
        TimeoutError: after `within` seconds, with the last answer or assertion.
    """
    deadline = time.monotonic() + within
    while True:
        try:
            answer = predicate()
            value = await answer if inspect.isawaitable(answer) else answer
            last: object = value
        except AssertionError as error:
            value, last = None, error
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within} s; last: {last!r}")
        await asyncio.sleep(PAUSE)


def eventually_blocking(predicate: Callable[[], T], within: float = 10.0, pause: float = PAUSE) -> T:
    """`eventually` for code outside an event loop; it asks every `pause` seconds, for an answer that costs much.

    Raises:
        TimeoutError: after `within` seconds, with the last answer or assertion.
    """
    deadline = time.monotonic() + within
    while True:
        try:
            value = predicate()
            last: object = value
        except AssertionError as error:
            value, last = None, error
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within} s; last: {last!r}")
        time.sleep(pause)
