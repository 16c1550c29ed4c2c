"""Keeps the HTTP client's own thread on the CPU of the event loop, which shares Python's interpreter lock with it.

The client's thread needs the lock for each answer that it brings, and the loop lets go of it for an instant with each
request. On two CPUs each of these instants wakes the other thread in vain; on one, the loop runs until it has nothing
left to do, and then the client's thread deals with all answers there are. Only one of the two runs Python at a time, so
one CPU is what they can use. Which one remains the kernel's choice: it has a moment for it ten times a second.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

TOGETHER: Final = 0.1
"""Seconds for which the threads stay where they are."""

APART: Final = 0.005
"""Seconds between, in which the kernel may move them to a CPU that has less to do."""

BUSY: Final = 0.3
"""Share of a CPU that the event loop uses at least: with less to do, there is no queue for the lock."""

_THREADS: Final = Path("/proc/self/task")
_CPU: Final = 36
"""Place of the CPU among the fields after the name in `stat` (proc(5): field 39)."""


async def keep_together(thread_name: str) -> None:
    """Keeps the thread of that name on the CPU of the calling one while that is busy, until cancelled.

    Meanwhile it does not interrupt the calling one when it wakes (SCHED_BATCH, see sched(7)). Does nothing where there
    is one CPU, where threads cannot be placed (on other systems than Linux, or where that is forbidden), and where the
    process was given another policy than the usual one.
    """
    if not hasattr(os, "sched_setaffinity") or not _THREADS.is_dir() or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return
    own, allowed = threading.get_native_id(), os.sched_getaffinity(0)
    if len(allowed) == 1:
        return
    busy = False
    with suppress(OSError):
        while True:
            began, worked = time.monotonic(), time.thread_time()
            others = _named(thread_name) if busy else []
            try:
                if others:
                    cpu = _cpu_of(own)
                    _place(others, {cpu}, os.SCHED_BATCH)
                    os.sched_setaffinity(own, {cpu})
                await asyncio.sleep(TOGETHER)
            finally:
                if others:
                    os.sched_setaffinity(own, allowed)
                    _place(_all(), allowed, os.SCHED_OTHER)
            busy = time.thread_time() - worked > BUSY * (time.monotonic() - began)
            if others:
                await asyncio.sleep(APART)


def _place(threads: Iterable[int], cpus: set[int], policy: int) -> None:
    """One that has ended is passed over. Raises: OSError."""
    for thread in threads:
        with suppress(ProcessLookupError):
            os.sched_setscheduler(thread, policy, os.sched_param(0))
            os.sched_setaffinity(thread, cpus)


def _cpu_of(thread: int) -> int:
    return int((_THREADS / str(thread) / "stat").read_text().rpartition(")")[2].split()[_CPU])


def _all() -> list[int]:
    """All threads of the process: those that began meanwhile inherited a place and a policy."""
    return [int(thread.name) for thread in _THREADS.iterdir()]


def _named(name: str) -> list[int]:
    found = []
    for thread in _THREADS.iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            if (thread / "comm").read_text() == f"{name}\n":
                found.append(int(thread.name))
    return found
