"""Addresses of target names, each checked before it is used: one look-up a name at a time, none on another's account."""

from __future__ import annotations

import asyncio
import socket
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from durable_timer.engine.egress import denied

RESOLVED_FOR: Final = 30.0
"""Seconds that an answer is used before the name is looked up again, meanwhile going on with the old one."""

FAILED_FOR: Final = 5.0
"""Seconds that a failure is remembered."""

NAMES: Final = 4096
"""Names that are remembered; the one not asked for longest is forgotten first."""

LOOK_UPS: Final = 64
"""Look-ups under way at once."""

LOOK_UPS_OF_DOMAIN: Final = 8
"""Look-ups under way at once of names with the same last two labels: a silent name server holds up its own alone."""

WAITING_OF_DOMAIN: Final = 256
"""Look-ups of one domain that may wait for these; beyond it they fail at once."""

Resolve = Callable[[str, int], list[str]]
Name = tuple[str, int]


class TargetDenied(Exception):
    """The target is one that callbacks may not reach; the message says why."""


@dataclass(slots=True)
class _Known:
    until: float
    address: str | None
    refusal: TargetDenied | OSError | None


@dataclass(slots=True)
class _Domain:
    look_ups: int = 0
    turn: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(LOOK_UPS_OF_DOMAIN))


def system_resolver(host: str, port: int) -> list[str]:
    """The addresses that the system's resolver gives. Blocks. Raises: OSError."""
    return [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class Names:
    """Answers for names from memory while it can; a failure is answered at once too, for some seconds."""

    def __init__(self, clock: Callable[[], float], resolve: Resolve = system_resolver) -> None:
        self._clock = clock
        self._resolve = resolve
        self._known: OrderedDict[Name, _Known] = OrderedDict()
        self._under_way: dict[Name, asyncio.Task[_Known]] = {}
        self._domains: dict[str, _Domain] = {}
        self._threads = ThreadPoolExecutor(LOOK_UPS, thread_name_prefix="names")

    async def address(self, host: str, port: int) -> str:
        """A checked address of the name.

        Raises:
            TargetDenied: One of its addresses is loopback, link-local or a metadata service's.
            OSError: It does not resolve, or too many names of its domain wait for their look-up.
        """
        name = host, port
        known = self._known.get(name)
        if known is None or (known.refusal is not None and self._clock() >= known.until):
            known = await asyncio.shield(self._look_up(name))
        else:
            self._known.move_to_end(name)
            if self._clock() >= known.until:
                _ = self._look_up(name)
        if known.refusal is not None or known.address is None:
            raise known.refusal or OSError("no address")
        return known.address

    def forget(self, host: str, port: int) -> None:
        """A connection to the address failed: the name is looked up anew at its next use, which still has the old one."""
        known = self._known.get((host, port))
        if known is not None:
            known.until = min(known.until, self._clock())

    async def close(self) -> None:
        """Gives up look-ups under way."""
        for task in self._under_way.values():
            task.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _look_up(self, name: Name) -> asyncio.Task[_Known]:
        task = self._under_way.get(name)
        if task is None:
            task = self._under_way[name] = asyncio.create_task(self._looked_up(name))
            task.add_done_callback(lambda _: self._under_way.pop(name, None))
        return task

    async def _looked_up(self, name: Name) -> _Known:
        refusal: TargetDenied | OSError | None = None
        found: list[str] = []
        try:
            found = await self._in_turn(name)
            if refused := [each for each in found if denied(each)]:
                what = "a loopback, link-local or metadata address"
                refusal = TargetDenied(f"{name[0]} resolves to {refused[0]}, {what}")
        except (OSError, UnicodeError) as error:
            refusal = error if isinstance(error, OSError) else OSError(str(error))
        until = self._clock() + (FAILED_FOR if refusal else RESOLVED_FOR)
        known = self._known[name] = _Known(until, found[0] if found else None, refusal)
        self._known.move_to_end(name)
        if len(self._known) > NAMES:
            self._known.popitem(last=False)
        return known

    async def _in_turn(self, name: Name) -> list[str]:
        """Asks on a thread, once it is the name's turn among those of its domain."""
        suffix = ".".join(name[0].removesuffix(".").split(".")[-2:])
        domain = self._domains.setdefault(suffix, _Domain())
        if domain.look_ups >= LOOK_UPS_OF_DOMAIN + WAITING_OF_DOMAIN:
            raise OSError(f"too many names of {suffix} wait to be looked up")
        domain.look_ups += 1
        try:
            async with domain.turn:
                return await asyncio.get_running_loop().run_in_executor(self._threads, self._resolve, *name)
        finally:
            domain.look_ups -= 1
            if not domain.look_ups:
                del self._domains[suffix]
