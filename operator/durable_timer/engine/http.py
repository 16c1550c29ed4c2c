"""Callbacks over HTTP by pyreqwest (Rust's reqwest): pooled connections, no redirects, no proxy, a bounded answer."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import re
import time
from collections import OrderedDict
from datetime import timedelta
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import PyreqwestError, RequestTimeoutError
from pyreqwest.http import Url
from pyreqwest.request import StreamRequest
from pyreqwest.response import Response

from durable_timer.engine.affinity import keep_together
from durable_timer.engine.delivery import CallbackRequest
from durable_timer.engine.egress import denied
from durable_timer.engine.names import Names, Resolve, TargetDenied, system_resolver
from durable_timer.models.checks import ends_in_a_number
from durable_timer.planning.answers import Answer, BodyEnd, NoAnswer, SendError

CONNECT_TIMEOUT: Final = 3.0
"""Longest seconds for a connection; the request's own timeout when that is shorter."""

PINNED: Final = 1024
"""Names whose connections are kept, where names are pinned to their checked address."""

_THREAD: Final = "pyreqwest"
"""The name of the thread in which the client runs."""

_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
"""What this machine lacks, which is no fault of the target's."""

_OURS: Final = re.compile(rf"\(os error ({'|'.join(map(str, sorted(_EXHAUSTED)))})\)")
"""How the client tells of it."""

_PORTS: Final = {"http": 80, "https": 443}


class PyreqwestDeliverer:
    """Sends callbacks. With `deny_private`, a name is resolved here, checked, and connected to at that very address."""

    def __init__(
        self, *, deny_private: bool, max_answer_bytes: int, user_agent: str, resolve: Resolve = system_resolver
    ) -> None:
        self._names = Names(time.monotonic, resolve) if deny_private else None
        self._cap = max_answer_bytes
        self._user_agent = user_agent
        self._client = self._builder().build()
        self._pinned: OrderedDict[tuple[str, int], tuple[str, Client]] = OrderedDict()
        self._placing: asyncio.Task[None] | None = None

    async def send(self, request: CallbackRequest) -> Answer | NoAnswer:
        if self._placing is None:
            self._placing = asyncio.create_task(keep_together(_THREAD))
        try:
            client, timeout = self._client, request.timeout
            if self._names is not None:
                begun = time.monotonic()
                async with asyncio.timeout(timeout):
                    client = await self._checked(self._names, request.url)
                timeout -= time.monotonic() - begun
            async with _built(client, request, timeout) as response:
                body, end = await self._read(response)
                return Answer(response.status, body, end, _retry_after(response))
        except TargetDenied as error:
            return NoAnswer(SendError.TARGET_DENIED, str(error))
        except _InvalidRequest as error:
            return NoAnswer(SendError.INVALID_REQUEST, str(error))
        except (TimeoutError, RequestTimeoutError):
            return NoAnswer(SendError.TIMEOUT, f"no whole answer within {request.timeout:g} s, or no connection")
        except (PyreqwestError, OSError) as error:
            if self._names is not None:
                self._names.forget(*_host_and_port(request.url))
            reason = _reason(error)
            ours = _OURS.search(reason) is not None or getattr(error, "errno", None) in _EXHAUSTED
            return NoAnswer(SendError.NO_RESOURCES if ours else SendError.NO_CONNECTION, reason)

    async def close(self) -> None:
        if self._placing is not None:
            self._placing.cancel()
        if self._names is not None:
            await self._names.close()
        await self._client.close()
        for _, client in self._pinned.values():
            await client.close()
        self._pinned.clear()

    async def _read(self, response: Response) -> tuple[bytes, BodyEnd]:
        try:
            read = await response.body_reader.read(self._cap + 1)
        except RequestTimeoutError:
            raise
        except PyreqwestError:
            return b"", BodyEnd.BROKEN_OFF
        body = b"" if read is None else bytes(read)
        return (body, BodyEnd.WHOLE) if len(body) <= self._cap else (body[: self._cap], BodyEnd.OVER_LONG)

    def _builder(self) -> ClientBuilder:
        return (
            ClientBuilder()
            .no_proxy()
            .follow_redirects(False)
            .user_agent(self._user_agent)
            .connect_timeout(timedelta(seconds=CONNECT_TIMEOUT))
            .gzip(False)
            .brotli(False)
            .zstd(False)
            .deflate(False)
        )

    async def _checked(self, names: Names, url: str) -> Client:
        """A client for the URL's host, once its address is checked. Raises: TargetDenied, OSError."""
        host, port = _host_and_port(url)
        try:
            ipaddress.ip_address(host)
        except ValueError:
            if ends_in_a_number(host):
                raise TargetDenied(f"{host} is an address written in an unusual way") from None
            return self._pin(host, port, await names.address(host, port))
        if denied(host):
            raise TargetDenied(f"{host} is a loopback, link-local or metadata address")
        return self._client

    def _pin(self, host: str, port: int, address: str) -> Client:
        kept = self._pinned.get((host, port))
        if kept is not None and kept[0] == address:
            self._pinned.move_to_end((host, port))
            return kept[1]
        client = self._builder().resolve(host, address, port).build()
        self._pinned[host, port] = address, client
        if len(self._pinned) > PINNED:
            self._pinned.popitem(last=False)
        return client


class _InvalidRequest(Exception):
    """The client refuses the URL or a header."""


@lru_cache(maxsize=8192)
def _parsed(url: str) -> Url:
    """Raises: ValueError."""
    return Url(url)


def _built(client: Client, request: CallbackRequest, seconds: float) -> StreamRequest:
    """Raises: _InvalidRequest."""
    try:
        builder = client.request(request.method, _parsed(request.url)).headers(request.headers)
        builder = builder.timeout(timedelta(seconds=max(0.001, seconds)))
        if request.body:
            builder = builder.body_bytes(request.body)
        return builder.build_streamed()
    except ValueError as error:
        raise _InvalidRequest(_reason(error)) from error


def _retry_after(response: Response) -> str | None:
    """The header, None where it is no text."""
    try:
        return response.get_header("retry-after")
    except ValueError:
        return None


def _host_and_port(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 80)


def _reason(error: Exception) -> str:
    """The innermost message that the client gives, without the URL (it may carry secrets in its query)."""
    details = getattr(error, "details", None)
    causes = details.get("causes") if isinstance(details, dict) else None
    if causes:
        return str(causes[-1].get("message", "")) or type(error).__name__
    if isinstance(error, OSError) and not isinstance(error, PyreqwestError):
        return error.strerror or type(error).__name__
    return type(error).__name__
