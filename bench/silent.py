"""`durable-timer` without its metrics, to see what they cost: `python -m bench.silent COMMAND …`."""

from __future__ import annotations

from durable_timer import factory
from durable_timer.cli import main
from durable_timer.metrics import Metrics


class Silent(Metrics):
    """Counts nothing of what happens to each timer, request and store call."""

    def created(self, group: str, count: int) -> None: ...

    def taken(self, group: str, count: int) -> None: ...

    def delivered(self, group: str, outcome: str, lateness: float | None, duration: float) -> None: ...

    def in_flight(self, group: str, count: int) -> None: ...

    def store_call(self, method: str, seconds: float, error: str | None) -> None: ...

    def request(self, operation: str, status: int, seconds: float) -> None: ...


if __name__ == "__main__":
    factory.Metrics = Silent  # type: ignore[attr-defined] # the one place that makes it
    main()
