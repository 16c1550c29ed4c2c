"""The service as processes on one database, with a receiver: what a measure runs against."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from bench import processes
from bench.database import Database
from bench.postgresql import Postgresql
from bench.receiver import Receiver, receiving
from bench.sqlite import Sqlite
from bench.timers import GROUP
from bench.tracks import Figures
from tests.support.process import ServiceProcess

_KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass(frozen=True, slots=True)
class GroupShape:
    """A TimerGroup; what is not said here is as shipped."""

    name: str = GROUP
    paused: bool = False
    signing: bool = False
    retention: str | None = None
    max_in_flight: int | None = None

    def manifest(self) -> dict[str, object]:
        callback: dict[str, object] = {}
        if self.signing:
            callback["signing"] = {"secretRefs": [{"name": "bench", "key": "secret"}]}
        if self.max_in_flight is not None:
            callback["maxInFlight"] = self.max_in_flight
        spec: dict[str, object] = {"paused": self.paused, "callback": callback}
        if self.retention is not None:
            spec["retention"] = {"completed": self.retention}
        kind = {"apiVersion": "durabletimer.dev/v1alpha1", "kind": "TimerGroup"}
        return {**kind, "metadata": {"name": self.name}, "spec": spec}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a cluster consists of; settings by their dotted names, `silent` without metrics."""

    executors: int = 1
    bridges: int = 1
    groups: tuple[GroupShape, ...] = (GroupShape(),)
    settings: tuple[tuple[str, str], ...] = ()
    tracing: bool = False
    silent: bool = False


class SilentProcess(ServiceProcess):
    """The service without metrics (`silent`)."""

    def __init__(self, command: str, *arguments: str, log: Path, environment: Mapping[str, str] | None = None) -> None:
        super().__init__(command, *arguments, log=log, environment=environment)
        self._command = [sys.executable, "-m", "bench.silent", *self._command[1:]]


@dataclass(slots=True)
class Cluster:
    """Running processes by name: `bridge` and `executor` (or `bridge-1`, `executor-1`, …), or `standalone`."""

    shape: Shape
    store: str
    receiver: Receiver
    database: Database
    services: Mapping[str, ServiceProcess]
    _cpu_of_gone: dict[str, float] = field(default_factory=dict)

    @property
    def bridge(self) -> str:
        """The REST API's address; the first, where there are several."""
        return next(iter(self.services.values())).url

    @property
    def bridges(self) -> list[str]:
        """The addresses of all processes that serve the REST API."""
        return [service.url for name, service in self.services.items() if not name.startswith("executor")]

    @property
    def executors(self) -> list[str]:
        """The names of the processes that deliver."""
        return [name for name in self.services if not name.startswith("bridge")]

    def stop_executors(self) -> None:
        """Ends all executors cleanly."""
        for name in self.executors:
            self._remember(name)
            self.services[name].stop()

    def start_executors(self) -> None:
        """Starts them again, and returns once each is ready."""
        for name in self.executors:
            self.services[name].start()
        for name in self.executors:
            self.services[name].wait_ready()

    def kill(self, name: str) -> None:
        """Ends a process by SIGKILL."""
        self._remember(name)
        self.services[name].kill()

    def cpu_seconds(self) -> dict[str, float]:
        """CPU seconds so far by process: the service's, `database`, `receiver`, `load` (this one
        and what it has run), `machine` (all of it)."""
        used = {
            name: self._cpu_of_gone.get(name, 0.0) + (processes.cpu_seconds(pid) if (pid := _pid(service)) else 0.0)
            for name, service in self.services.items()
        }
        server = self.database.server()
        if server is not None:
            used["database"] = processes.family_cpu_seconds(server)
        used["receiver"] = processes.cpu_seconds(self.receiver.pid)
        used["load"] = processes.own_cpu_seconds() - sum(self._cpu_of_gone.values())
        return used | {"machine": processes.machine_cpu_seconds()}

    def pids(self) -> dict[str, int]:
        """The ids of the service's processes that run."""
        return {name: pid for name, service in self.services.items() if (pid := _pid(service))}

    def memory_mib(self) -> dict[str, float]:
        """Memory in MiB by process, the database's too."""
        found = {name: processes.memory_mib([pid]) for name, pid in self.pids().items()}
        server = self.database.server()
        if server is not None:
            found["database"] = processes.memory_mib([server, *processes.children(server)])
        return found

    def _remember(self, name: str) -> None:
        if pid := _pid(self.services[name]):
            self._cpu_of_gone[name] = self._cpu_of_gone.get(name, 0.0) + processes.cpu_seconds(pid)


class Cost:
    """What a span of time cost, from its making to `figures`."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._cpu = cluster.cpu_seconds()
        self._begun = time.monotonic()

    def cores(self) -> Figures:
        """Cores in use on average, by process; `others` is what the rest of this machine used."""
        lasted = time.monotonic() - self._begun
        spent = self._spent()
        machine = spent.pop("machine")
        spent["others"] = max(0.0, machine - sum(spent.values()))
        return {f"cores.{name}": round(seconds / lasted, 3) for name, seconds in spent.items()}

    def per_thousand(self, count: int) -> Figures:
        """CPU seconds for each 1,000 of `count`, by process; memory; cores that others used, which spoil the figures."""
        spent = self._spent()
        del spent["machine"]
        figures: Figures = {
            f"cpu_s_per_1000.{name}": round(cpu * 1000 / max(1, count), 4) for name, cpu in spent.items()
        }
        figures |= {f"memory_mib.{name}": mib for name, mib in self._cluster.memory_mib().items()}
        return figures | {"others_cores": self.cores()["cores.others"]}

    def _spent(self) -> dict[str, float]:
        """CPU seconds; those of processes come in ticks of 10 ms, so that a difference of sums may fall below zero."""
        return {name: max(0.0, cpu - self._cpu.get(name, 0.0)) for name, cpu in self._cluster.cpu_seconds().items()}


@contextlib.contextmanager
def running(shape: Shape, url: str, folder: Path, slow_seconds: float) -> Iterator[Cluster]:
    """Starts a cluster on an empty database, and ends it. The folder is for manifests and logs."""
    with contextlib.ExitStack() as stack:
        receiver = stack.enter_context(receiving(slow_seconds))
        services = _services(shape, url, folder, receiver)
        for service in services.values():
            stack.callback(service.kill)
            service.start()
        receiver.wait_ready()
        for service in services.values():
            service.wait_ready()
        database = _database(url)
        stack.callback(database.close)
        yield Cluster(shape, url, receiver, database, services)


def _database(url: str) -> Database:
    path = url.removeprefix("sqlite:///")
    return Postgresql(url) if path == url else Sqlite(Path(path))


def _services(shape: Shape, url: str, folder: Path, receiver: Receiver) -> dict[str, ServiceProcess]:
    (folder / "groups.yaml").write_bytes(b"\n---\n".join(orjson.dumps(group.manifest()) for group in shape.groups))
    secret = folder / "secrets" / "bench" / "secret"
    secret.parent.mkdir(parents=True)
    secret.write_text(_KEY)
    settings = {"engine.deny_private_targets": "false", "secrets_dir": str(folder / "secrets"), **dict(shape.settings)}
    if shape.tracing:
        settings["tracing.endpoint"] = receiver.url
    arguments = ["--store", url, "--groups", str(folder / "groups.yaml")]
    arguments += [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    program = SilentProcess if shape.silent else ServiceProcess
    return {
        name: program(name.partition("-")[0], *arguments, "--set", f"member_name={name}", log=folder / f"{name}.log")
        for name in _names(shape, url)
    }


def _names(shape: Shape, url: str) -> list[str]:
    if url.startswith("sqlite:"):
        return ["standalone"]
    return [*_numbered("bridge", shape.bridges), *_numbered("executor", shape.executors)]


def _numbered(name: str, count: int) -> list[str]:
    return [name] if count == 1 else [f"{name}-{number}" for number in range(1, count + 1)]


def _pid(service: ServiceProcess) -> int | None:
    """None when it does not run."""
    try:
        return service.pid
    except RuntimeError:
        return None
