"""How a callback leaves: the protocols that the engine sends through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from durable_timer.planning.answers import Answer, NoAnswer


@dataclass(slots=True)
class CallbackRequest:
    """A request, complete: absolute URL, headers in order (names as sent), body. `timeout` is in seconds, of the whole."""

    method: str
    url: str
    headers: list[tuple[str, str]]
    body: bytes
    timeout: float


class Deliverer(Protocol):
    """Sends callbacks: no redirects, no proxy from the environment, one attempt each."""

    async def send(self, request: CallbackRequest) -> Answer | NoAnswer:
        """Never raises for what a target or the network does; cancellation ends the request."""
        ...

    async def close(self) -> None:
        """Gives up all connections."""
        ...


class Secrets(Protocol):
    """Where signing keys and header values come from."""

    async def read(self, namespace: str | None, name: str, key: str) -> bytes | None:
        """The value, or None when it cannot be read now. Answers from a cache; never raises."""
        ...


class Span(Protocol):
    """One callback in a trace."""

    @property
    def traceparent(self) -> str:
        """What the request carries (W3C Trace Context)."""
        ...

    def end(self, error: str | None) -> None:
        """The callback is over; `error` says why it did not succeed."""
        ...


class Tracer(Protocol):
    """Traces, or just their context when none are recorded."""

    def callback(self, traceparent: str | None, group_id: str, timer_id: str) -> Span:
        """Begins the span of a callback whose create carried `traceparent`."""
        ...
