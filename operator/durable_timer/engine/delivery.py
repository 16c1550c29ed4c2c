"""How a callback leaves: the protocol that the engine sends through."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


@dataclass(slots=True)
class CallbackRequest:
    """A request, complete: absolute URL, headers in order (names as sent), body. `timeout` is in seconds, of the whole."""

    method: str
    url: str
    headers: list[tuple[str, str]]
    body: bytes
    timeout: float


class SendError(StrEnum):
    """Why there is no answer to classify."""

    TIMEOUT = "timeout"
    CONNECT = "connect"
    BROKEN = "broken"
    """The connection ended before the whole answer was there."""
    DENIED = "denied"
    """The target is refused by this service's egress rules; nothing was sent."""
    INVALID = "invalid"
    """The request cannot be expressed (a URL or header the client refuses); nothing was sent."""


@dataclass(slots=True)
class CallbackAnswer:
    """What came back: a status with the body up to the cap (`truncated` past it), or an error with its text."""

    status: int | None
    body: bytes = b""
    truncated: bool = False
    retry_after: str | None = None
    error: SendError | None = None
    detail: str = ""


class Deliverer(Protocol):
    """Sends callbacks: no redirects, no proxy from the environment, one attempt each."""

    async def send(self, request: CallbackRequest) -> CallbackAnswer:
        """Never raises for what a target or the network does; cancellation ends the request."""
        ...

    async def close(self) -> None: ...


class Secrets(Protocol):
    """Where signing keys and header values come from."""

    async def read(self, namespace: str | None, name: str, key: str) -> bytes | None:
        """The value, or None when it cannot be read now. Answers from a cache; never raises."""
        ...
