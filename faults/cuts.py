"""An executor whose way to the database is cut or slow, and one whose clock is wrong."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from faults.checks import SETTLED_BY, Fault
from faults.proxy import Proxy
from faults.rig import Rig
from tests.support.waiting import eventually_blocking

CUT_OFF: Final = "executor-2"
CUT_FOR: Final = 8.0
DELAY: Final = 3.0
WRONG_CLOCK: Final = "executor-2"
WRONG_FOR: Final = 8.0
WRONG_BY: Final = 5.0


def requests(rig: Rig) -> Fault:
    """Nothing that the executor says reaches the database."""
    return _cut(rig, lambda proxy: proxy.requests.shut(), lambda proxy: proxy.requests.open())


def answers(rig: Rig) -> Fault:
    """The database hears and does; nothing that it answers arrives."""
    return _cut(rig, lambda proxy: proxy.answers.shut(), lambda proxy: proxy.answers.open())


def delayed(rig: Rig) -> Fault:
    """Each answer of the database comes late."""

    def delay(proxy: Proxy) -> None:
        proxy.answers.delay = DELAY

    def undo(proxy: Proxy) -> None:
        proxy.answers.delay = 0.0

    return _cut(rig, delay, undo)


def clock_ahead(rig: Rig) -> Fault:
    return _wrong_clock(rig, WRONG_BY)


def clock_behind(rig: Rig) -> Fault:
    return _wrong_clock(rig, -WRONG_BY)


def _cut(rig: Rig, cut: Callable[[Proxy], None], mend: Callable[[Proxy], None]) -> Fault:
    proxy = rig.proxies[CUT_OFF]
    living = rig.ownership.living(CUT_OFF)
    begun = time.time()
    rig.loop.call(lambda: cut(proxy))
    time.sleep(SETTLED_BY)
    in_flight = rig.ownership.in_flight(living)
    time.sleep(max(0.0, begun + CUT_FOR - time.time()))
    rig.loop.call(lambda: mend(proxy))
    return Fault(begun=begun, ended=time.time(), in_flight=in_flight, taken_over=True)


def _wrong_clock(rig: Rig, seconds: float) -> Fault:
    """The clock jumps, and later jumps back; nothing may come of it but that the executor says so.

    Raises:
        TimeoutError: the executor's clock did not jump.
    """
    begun = time.time()
    _set_clock(rig.clock, seconds)
    eventually_blocking(lambda: abs(rig.clock_offset(WRONG_CLOCK) + seconds) < 1, WRONG_FOR)
    time.sleep(max(0.0, begun + WRONG_FOR - time.time()))
    _set_clock(rig.clock, 0)
    return Fault(begun=begun, ended=begun)


def _set_clock(file: Path, seconds: float) -> None:
    new = file.with_suffix(".new")
    new.write_text(f"{seconds:+g}s\n")
    os.replace(new, file)  # noqa: PTH105 - at once, so that nobody reads half of it
