"""Bridges and executors as separate processes on one PostgreSQL."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.programs.client import Client
from tests.support.process import ServiceProcess
from tests.support.waiting import eventually_blocking

OWNED = "durable_timer_claims"


@dataclass(frozen=True, slots=True)
class Cluster:
    bridges: list[ServiceProcess]
    executors: list[ServiceProcess]

    def owned(self, executor: ServiceProcess, group: str = "demo") -> int:
        """How many shards of the group the executor says it owns."""
        text: str = Client(executor.url).get("/metrics").body
        prefix = f'{OWNED}{{group="{group}"}} '
        return next((int(float(line[len(prefix) :])) for line in text.splitlines() if line.startswith(prefix)), 0)

    def wait_shared(self, shards: int = 16, within: float = 20.0) -> None:
        """Returns once the executors own all shards, each an equal part."""
        part = shards // len(self.executors)
        eventually_blocking(lambda: all(self.owned(executor) == part for executor in self.executors), within)


@contextmanager
def cluster(
    store: str, folder: Path, *, bridges: int = 2, executors: int = 2, groups: str | None = "examples/timergroup.yaml"
) -> Iterator[Cluster]:
    """Processes that are ready, with `groups` registered by the bridges, until the block ends."""
    shared = ["--store", store, "--set", "engine.deny_private_targets=false"]
    registering = ["--groups", groups] if groups is not None else []
    made = Cluster(
        [ServiceProcess("bridge", *shared, *registering, log=folder / f"bridge-{n}") for n in range(bridges)],
        [ServiceProcess("executor", *shared, log=folder / f"executor-{n}") for n in range(executors)],
    )
    with ExitStack() as stack:
        for process in (*made.bridges, *made.executors):
            stack.enter_context(process)
        for process in (*made.bridges, *made.executors):
            process.wait_ready()
        yield made
