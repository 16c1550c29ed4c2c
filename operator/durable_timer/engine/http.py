"""Callbacks over HTTP by pyreqwest (Rust's reqwest): pooled connections, no redirects, no proxy, a bounded answer."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections import OrderedDict
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import PyreqwestError, RequestTimeoutError
from pyreqwest.response import Response

from durable_timer.engine.delivery import CallbackRequest
from durable_timer.engine.egress import denied
from durable_timer.planning.answers import Answer, BodyEnd, NoAnswer, SendError

CONNECT_TIMEOUT: Final = 3.0
"""Longest seconds for a connection; the request's own timeout when that is shorter."""

RESOLVED_FOR: Final = 30.0
"""Seconds that a name's checked address is used before it is looked up again."""

NAMES: Final = 1024
"""Names whose addresses and connections are kept."""


class PyreqwestDeliverer:
    """Sends callbacks. With `deny_private`, a name is resolved here, checked, and connected to at that very address."""

    def __init__(self, *, deny_private: bool, max_answer_bytes: int, user_agent: str) -> None:
        self._deny_private = deny_private
        self._cap = max_answer_bytes
        self._user_agent = user_agent
        self._client = self._builder().build()
        self._pinned: OrderedDict[str, tuple[float, str, Client]] = OrderedDict()

    async def send(self, request: CallbackRequest) -> Answer | NoAnswer:
        try:
            client = self._client
            if self._deny_private:
                async with asyncio.timeout(request.timeout):
                    client = await self._client_for(request.url)
            return await self._exchange(client, request)
        except _Denied as error:
            return NoAnswer(SendError.TARGET_DENIED, str(error))
        except ValueError as error:
            return NoAnswer(SendError.INVALID_REQUEST, _reason(error))
        except (TimeoutError, RequestTimeoutError):
            return NoAnswer(SendError.TIMEOUT, f"no whole answer within {request.timeout:g} s, or no connection")
        except (PyreqwestError, OSError) as error:
            self._pinned.pop(urlsplit(request.url).netloc, None)
            return NoAnswer(SendError.NO_CONNECTION, _reason(error))

    async def close(self) -> None:
        await self._client.close()
        for _, _, client in self._pinned.values():
            await client.close()
        self._pinned.clear()

    async def _exchange(self, client: Client, request: CallbackRequest) -> Answer:
        timeout = timedelta(seconds=request.timeout)
        builder = client.request(request.method, request.url).headers(request.headers).timeout(timeout)
        if request.body:
            builder = builder.body_bytes(request.body)
        async with builder.build_streamed() as response:
            body, end = await self._read(response)
            return Answer(response.status, body, end, response.get_header("retry-after"))

    async def _read(self, response: Response) -> tuple[bytes, BodyEnd]:
        chunks: list[bytes] = []
        size = 0
        try:
            while (chunk := await response.body_reader.read_chunk()) is not None:
                chunks.append(bytes(chunk))
                size += len(chunk)
                if size > self._cap:
                    return b"".join(chunks)[: self._cap], BodyEnd.OVER_LONG
        except RequestTimeoutError:
            raise
        except PyreqwestError:
            return b"".join(chunks), BodyEnd.BROKEN_OFF
        return b"".join(chunks), BodyEnd.WHOLE

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

    async def _client_for(self, url: str) -> Client:
        """A client for the URL's host, once its address is checked. Raises: _Denied, OSError."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return await self._pinned_client(parts.netloc, host, parts.port or (443 if parts.scheme == "https" else 80))
        if denied(host):
            raise _Denied(f"{host} is a loopback, link-local or metadata address")
        return self._client

    async def _pinned_client(self, netloc: str, host: str, port: int) -> Client:
        kept = self._pinned.get(netloc)
        now = time.monotonic()
        if kept is not None and now < kept[0]:
            self._pinned.move_to_end(netloc)
            return kept[2]
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(info[4][0]) for info in found]
        if refused := [address for address in addresses if denied(address)]:
            raise _Denied(f"{host} resolves to {refused[0]}, a loopback, link-local or metadata address")
        if kept is not None and kept[1] in addresses:
            self._pinned[netloc] = (now + RESOLVED_FOR, kept[1], kept[2])
            return kept[2]
        client = self._builder().resolve(host, addresses[0], port).build()
        self._pinned[netloc] = (now + RESOLVED_FOR, addresses[0], client)
        if len(self._pinned) > NAMES:
            self._pinned.popitem(last=False)
        return client


class _Denied(Exception):
    """The target is one that callbacks may not reach."""


def _reason(error: Exception) -> str:
    """The innermost message that the client gives, without the URL (it may carry secrets in its query)."""
    details = getattr(error, "details", None)
    causes = details.get("causes") if isinstance(details, dict) else None
    if causes:
        return str(causes[-1].get("message", "")) or type(error).__name__
    return type(error).__name__
