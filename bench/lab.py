"""Where measures get what they run against, one cluster at a time, so that nothing else runs beside it."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

from bench.charts import Chart
from bench.cluster import Cluster, Shape, running
from bench.sizes import Sizes
from tests.support.postgres import EmbeddedPostgres, new_database

COMPLAINT: Final = re.compile(r"\[(?:warning|error|critical) *\]|\"level\": ?\"(?:warning|error|critical)\"")
COMPLAINTS_SHOWN: Final = 5

SERVER: Final = "DURABLE_TIMER_BENCH_POSTGRESQL"
"""The variable that names a server to use instead of an embedded one: a URL whose user may create databases."""


class Kind(StrEnum):
    """A store to measure with."""

    POSTGRESQL = "postgresql"
    SQLITE = "sqlite"


Figures = dict[str, float | int | str]
"""By name."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a measure found: figures by name (the unit is the name's end), charts, and which of its aims were missed."""

    figures: Figures = field(default_factory=dict)
    charts: tuple[Chart, ...] = ()
    missed: tuple[str, ...] = ()


class Lab:
    """Makes clusters on one database server; a context manager.

    With `thrifty`, a cluster asked to be fresh is one that is there, when it has the shape: for trying things out.
    """

    def __init__(
        self,
        kind: Kind,
        sizes: Sizes,
        say: Callable[[str], None],
        *,
        server: str | None = None,
        max_in_flight: int | None = None,
        thrifty: bool = False,
    ) -> None:
        self.kind = kind
        self.sizes = sizes
        self.say = say
        self._server = server or os.environ.get(SERVER)
        self._max_in_flight = max_in_flight
        self._thrifty = thrifty
        self._all = contextlib.ExitStack()
        self._current = contextlib.ExitStack()
        self._cluster: Cluster | None = None

    def __enter__(self) -> Self:
        if self.kind is Kind.POSTGRESQL and self._server is None:
            server = EmbeddedPostgres(durable=True)
            self._all.callback(server.remove)
            server.start()
            self._server = server.url
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._current.close()
        finally:
            self._all.close()

    def cluster(self, shape: Shape | None = None, *, fresh: bool = False) -> Cluster:
        """A running cluster of that shape: the last one when it has it, unless `fresh`. The last one ends otherwise."""
        shape = self._limited(shape or Shape())
        if self._cluster is None or self._cluster.shape != shape or (fresh and not self._thrifty):
            self._cluster = None
            self._current.close()
            self._cluster = self._current.enter_context(self._running(shape))
        self._cluster.receiver.reset()
        return self._cluster

    @contextlib.contextmanager
    def stopped(self, cluster: Cluster) -> Iterator[None]:
        """Its executors do not run meanwhile (when thrifty, they do)."""
        if not self._thrifty:
            cluster.stop_executors()
        yield
        if not self._thrifty:
            cluster.start_executors()

    def _limited(self, shape: Shape) -> Shape:
        if self._max_in_flight is None:
            return shape
        return replace(shape, groups=tuple(replace(group, max_in_flight=self._max_in_flight) for group in shape.groups))

    @contextlib.contextmanager
    def _running(self, shape: Shape) -> Iterator[Cluster]:
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="durable-timer-bench-")))
            if self._server is None:
                url = f"sqlite:///{folder}/timers.db"
            else:
                url = stack.enter_context(new_database(self._server))
            cluster = stack.enter_context(running(shape, url, folder, self.sizes.slow_seconds))
            pids = ", ".join(f"{name} {service.pid}" for name, service in cluster.services.items())
            self.say(f"  processes: {pids}")
            yield cluster
            self._say_complaints(cluster)

    def _say_complaints(self, cluster: Cluster) -> None:
        """What the processes logged as warnings or worse: a figure may be the consequence."""
        for name, service in cluster.services.items():
            lines = [line for line in service.output.splitlines() if COMPLAINT.search(line)]
            if lines:
                self.say(f"  {name} logged {len(lines)} warnings or errors, such as:")
            for line in lines[:COMPLAINTS_SHOWN]:
                self.say(f"    {line[:200]}")
