"""What a cluster holds over time: memory, descriptors, threads, connections, tables. Sampled, and split into lives."""

from __future__ import annotations

import time
from collections.abc import Mapping
from enum import Enum

from bench import processes
from bench.cluster import Cluster
from bench.postgresql import Postgresql
from bench.trends import Point

MIB = 2**20


class Kind(Enum):
    """What is sampled, and its unit."""

    MEMORY = "MiB"
    CPU = "cores"
    DESCRIPTORS = "descriptors"
    CALLBACKS = "connections to the target"
    THREADS = "threads"
    CONNECTIONS = "database connections"
    TABLES = "MiB of tables"
    ROWS = "rows"


Lives = list[list[Point]]
"""A series: points (seconds since the run's begin, value), a list for each life of the process that it is about."""


class Vitals:
    """Samples a cluster on PostgreSQL; times count from `begin`, in seconds since 1970. Blocks; for one thread."""

    def __init__(self, cluster: Cluster, begin: float) -> None:
        self._cluster = cluster
        self._begin = begin
        self._database = Postgresql(cluster.store)
        self._pids: dict[str, int] = {}
        self._target: frozenset[int] = frozenset()
        self._cpu: dict[str, tuple[float, float]] = {}
        self.series: dict[Kind, dict[str, Lives]] = {kind: {} for kind in Kind}
        self.vacuums = 0

    def sample(self) -> None:
        """Looks at everything once."""
        pids = self._cluster.pids()
        restarted = {name for name, pid in pids.items() if self._pids.get(name) != pid}
        self._pids = pids
        self._target = processes.sockets_to(self._cluster.receiver.url)
        for name, pid in pids.items():
            self._process(name, pid, new=name in restarted)
        self._server()
        self._tables(restarted)

    def close(self) -> None:
        self._database.close()

    def _process(self, name: str, pid: int, *, new: bool) -> None:
        at, use = time.time() - self._begin, processes.use(pid)
        if use is None:
            return
        callbacks = len(use.sockets & self._target)
        self._add(Kind.MEMORY, name, at, use.memory_mib, new=new)
        self._add(Kind.DESCRIPTORS, name, at, use.descriptors - callbacks, new=new)
        if name in self._cluster.executors:
            self._add(Kind.CALLBACKS, name, at, callbacks, new=new)
        self._add(Kind.THREADS, name, at, use.threads, new=new)
        self._add_cpu(name, at, use.cpu_seconds, new=new)

    def _add_cpu(self, name: str, at: float, seconds: float, *, new: bool) -> None:
        """The cores in use since the last sample; a life's first sample only begins it."""
        begun, used = self._cpu.get(name, (at, seconds))
        self._cpu[name] = (at, seconds)
        if new:
            self.series[Kind.CPU].setdefault(name, []).append([])
        elif at > begun:
            self._add(Kind.CPU, name, at, (seconds - used) / (at - begun))

    def _server(self) -> None:
        server = self._database.server()
        if server is None:
            return
        at = time.time() - self._begin
        self._add(Kind.MEMORY, "database", at, processes.memory_mib([server, *processes.children(server)]))
        self._add_cpu("database", at, processes.family_cpu_seconds(server), new="database" not in self._cpu)

    def _tables(self, restarted: set[str]) -> None:
        at = time.time() - self._begin
        connections = {name.rpartition(" ")[2]: count for name, count in self._database.connections().items()}
        for name in self._pids:
            self._add(Kind.CONNECTIONS, name, at, connections.get(name, 0), new=name in restarted)
        for name, size in self._database.relations().items():
            self._add(Kind.TABLES, name, at, size / MIB)
        rows = self._database.rows()
        self.vacuums = rows.pop("vacuums")
        for name, count in rows.items():
            self._add(Kind.ROWS, name, at, count)

    def _add(self, kind: Kind, name: str, at: float, value: float, *, new: bool = False) -> None:
        lives = self.series[kind].setdefault(name, [[]])
        if new and lives[-1]:
            lives.append([])
        lives[-1].append((round(at, 2), round(value, 3)))


def lines(lives: Mapping[str, Lives], scale: float) -> dict[str, list[Point]]:
    """Each series in one piece, its times multiplied."""
    return {name: [(at * scale, value) for life in found for at, value in life] for name, found in lives.items()}
