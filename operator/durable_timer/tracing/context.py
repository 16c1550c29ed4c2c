"""Trace context (W3C, https://www.w3.org/TR/trace-context/), handed on without recording anything."""

from __future__ import annotations

import random
import re
from typing import Final

_NOT_ZERO: Final = 1 << 64 | 1
"""Bits that keep a trace id and the parent id behind it from being all zeros, which is not valid."""

_SHAPE: Final = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})", re.ASCII)


def child_traceparent(traceparent: str | None, rng: random.Random) -> str:
    """The `traceparent` of a request made on behalf of `traceparent`: its trace and flags, and a new parent id.

    Without one, or with one that is not valid, it begins a trace, not sampled: nothing was recorded here, and
    the receiver is not made to.
    """
    found = _SHAPE.fullmatch(traceparent) if traceparent is not None else None
    fresh = f"{rng.getrandbits(192) | _NOT_ZERO:048x}"
    if found:
        return f"00-{found[1]}-{fresh[32:]}-{found[3]}"
    return f"00-{fresh[:32]}-{fresh[32:]}-00"


class ContextSpan:
    """A callback of which nothing is recorded."""

    __slots__ = ("traceparent",)

    def __init__(self, traceparent: str) -> None:
        self.traceparent = traceparent

    def end(self, error: str | None) -> None:
        """Nothing to record."""


class ContextTracer:
    """Hands the trace context on, and records no spans."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def callback(self, traceparent: str | None, group_id: str, timer_id: str) -> ContextSpan:
        """A child of the create's context, or a new one."""
        del group_id, timer_id
        return ContextSpan(child_traceparent(traceparent, self._rng))
