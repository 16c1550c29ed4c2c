"""The service as processes of this machine: PostgreSQL, two bridges, two executors, a receiver."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import orjson

from faults.clients import LocalClient
from faults.load import GROUP
from faults.loop import Loop
from faults.ownership import Ownership
from faults.proxy import Proxy
from faults.receiving import HOST, Receiver, receiving
from tests.programs.client import Client
from tests.support.postgres import EmbeddedPostgres
from tests.support.process import ServiceProcess

NAMES: Final = ("bridge-1", "bridge-2", "executor-1", "executor-2")
OFFSET: Final = "durable_timer_clock_offset_seconds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How a rig differs from the usual one, by the names of processes."""

    proxied: frozenset[str] = frozenset()
    """They reach the database through a proxy."""
    own_clock: frozenset[str] = frozenset()
    """Their clock is what libfaketime makes of `Rig.clock`."""
    disk_mib: int | None = None
    """The database has a small disk of its own."""


@dataclass(slots=True)
class Rig:
    """Running processes: `bridge-1`, `bridge-2`, `executor-1`, `executor-2`, and what else a fault starts."""

    loop: Loop
    postgres: EmbeddedPostgres
    store: str
    receiver: Receiver
    ownership: Ownership
    services: dict[str, ServiceProcess]
    folder: Path
    proxies: dict[str, Proxy]
    _stack: contextlib.ExitStack

    @property
    def clock(self) -> Path:
        """The file with the offset, such as `+5s`, of those clocks that may be wrong."""
        return self.folder / "clock"

    def client(self, scale: float, slow: float) -> LocalClient:
        """A client of the bridges that run now."""
        bridges = [service.url for name, service in self.services.items() if name.startswith("bridge")]
        return LocalClient(self.loop, bridges, self.receiver.targets, scale=scale, slow=slow)

    def clock_offset(self, executor: str) -> float:
        """The store's clock less that executor's, in seconds, as it says itself."""
        text: str = Client(self.services[executor].url).get("/metrics").body
        return next((float(line.split(" ")[1]) for line in text.splitlines() if line.startswith(f"{OFFSET} ")), 0.0)

    def add(self, name: str, service: ServiceProcess) -> None:
        """Takes a process in, which ends with the rig."""
        self._stack.callback(service.kill)
        self.services[name] = service

    def service(
        self, name: str, *, own_clock: bool = False, proxied: bool = False, next_release: bool = False
    ) -> ServiceProcess:
        """A process, not started yet, whose kind its name begins with."""
        program = NextRelease if next_release else ServiceProcess
        return program(
            name.partition("-")[0],
            *_arguments(name, self._proxy(name) if proxied else self.store, self.folder),
            log=self.folder / f"{name}.log",
            environment=_faked(self.clock) if own_clock else None,
        )

    def _proxy(self, name: str) -> str:
        """The database's URL through a new proxy."""
        parts = urlsplit(self.store)

        async def start() -> int:
            self.proxies[name] = Proxy(parts.hostname or HOST, parts.port or 0)
            return await self.proxies[name].start()

        port = self.loop.do(start())
        self._stack.callback(lambda: self.loop.do(self.proxies[name].stop()))
        return urlunsplit(parts._replace(netloc=f"{parts.username}@{HOST}:{port}"))


class NextRelease(ServiceProcess):
    """The service as the release after this one (`next_release`)."""

    def __init__(self, command: str, *arguments: str, log: Path, environment: Mapping[str, str] | None = None) -> None:
        super().__init__(command, *arguments, log=log, environment=environment)
        self._command = [sys.executable, "-m", "faults.next_release", *self._command[1:]]


@contextlib.contextmanager
def rig(postgres: EmbeddedPostgres, store: str, folder: Path, shape: Shape) -> Iterator[Rig]:
    """Starts everything on an empty database of a running server, and ends it. The folder is for logs."""
    manifest = {
        "apiVersion": "durabletimer.dev/v1alpha1",
        "kind": "TimerGroup",
        "metadata": {"name": GROUP},
        "spec": {},
    }
    (folder / "group.yaml").write_bytes(orjson.dumps(manifest))
    with contextlib.ExitStack() as stack:
        loop = stack.enter_context(Loop())
        receiver = stack.enter_context(receiving())
        made = Rig(loop, postgres, store, receiver, Ownership(loop, store, GROUP), {}, folder, {}, stack)
        made.clock.write_text("+0s\n")
        for name in NAMES:
            made.add(name, made.service(name, own_clock=name in shape.own_clock, proxied=name in shape.proxied))
        for service in made.services.values():
            service.start()
        for service in made.services.values():
            service.wait_ready()
        made.ownership.wait_shared(*(name for name in NAMES if name.startswith("executor")))
        yield made


def faketime() -> str | None:
    """The library that makes a process's clock wrong, where it is installed."""
    return next(map(str, sorted(Path("/usr/lib").glob("**/libfaketimeMT.so.1"))), None)


def _faked(file: Path) -> dict[str, str]:
    library = faketime()
    if library is None:
        raise RuntimeError("libfaketime is not installed")
    return {
        "LD_PRELOAD": library,
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def _arguments(name: str, store: str, folder: Path) -> Sequence[str]:
    """What a process is started with, behind its command."""
    settings = ("engine.deny_private_targets=false", f"member_name={name}", f"member_host={name}")
    groups = ("--groups", str(folder / "group.yaml")) if name.startswith("bridge") else ()
    return ("--store", store, *groups, *(word for setting in settings for word in ("--set", setting)))
