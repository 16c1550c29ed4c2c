"""What a benchmark runs against: a durable database, the service's processes, the receiver."""

from __future__ import annotations

import contextlib
import http.client
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import orjson

from tests.support.postgres import EmbeddedPostgres, free_port
from tests.support.process import ServiceProcess

GROUP = "bench"

MANIFEST = """\
apiVersion: durabletimer.dev/v1alpha1
kind: TimerGroup
metadata:
  name: bench
spec:
  callback:
    maxInFlight: 10000
"""


@dataclass(slots=True)
class Bench:
    """Where things are: the bridge, the receiver, and the service's processes by name."""

    store: str
    bridge: str
    sink: str
    processes: dict[str, ServiceProcess]

    def cpu_seconds(self) -> dict[str, float]:
        """User and system CPU seconds of each process so far."""
        return {name: _cpu(process.pid) for name, process in self.processes.items()}

    def memory_mib(self) -> dict[str, float]:
        """Resident memory of each process now."""
        return {name: _rss(process.pid) for name, process in self.processes.items()}


@contextlib.contextmanager
def running(store: str) -> Iterator[Bench]:
    """Starts everything for `postgresql` (bridge and executor apart) or `sqlite` (standalone), and ends it."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="durable-timer-bench-")))
        (folder / "group.yaml").write_text(MANIFEST)
        sink = stack.enter_context(_sink())
        environment = {"DURABLE_TIMER_ENGINE__DENY_PRIVATE_TARGETS": "false"}
        if store == "sqlite":
            url = f"sqlite:///{folder}/timers.db"
            programs = {"standalone": url}
        else:
            url = os.environ.get("DURABLE_TIMER_BENCH_POSTGRESQL") or _postgres(stack)
            programs = {"bridge": url, "executor": url}
        processes: dict[str, ServiceProcess] = {}
        for name, address in programs.items():
            process = ServiceProcess(
                name, "--store", address, "--groups", str(folder / "group.yaml"),
                log=folder / f"{name}.log", environment=environment,
            )  # fmt: skip
            processes[name] = stack.enter_context(process)
            process.wait_ready()
        yield Bench(store, next(iter(processes.values())).url, sink, processes)


def _postgres(stack: contextlib.ExitStack) -> str:
    server = EmbeddedPostgres(durable=True)
    stack.callback(server.remove)
    server.start()
    return server.url


@contextlib.contextmanager
def _sink() -> Iterator[str]:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "bench.sink", "127.0.0.1", str(port)])
    try:
        _until_answering(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _until_answering(port: int) -> None:
    for _ in range(200):
        try:
            get(f"http://127.0.0.1:{port}/reset")
        except OSError:
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run(["sleep", "0.05"], check=True, timeout=1)
        else:
            return
    raise TimeoutError("the receiver did not start")


def get(url: str) -> bytes:
    """The body of a GET."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    with contextlib.closing(connection):
        connection.request("GET", parts.path)
        return connection.getresponse().read()


def stats(sink: str) -> dict[str, object]:
    """What the receiver has seen since its last reset."""
    answer: dict[str, object] = orjson.loads(get(f"{sink}/stats"))
    return answer


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return round(pages * resource.getpagesize() / 2**20, 1)
