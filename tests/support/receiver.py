"""An HTTP receiver for callbacks that shares no code with the service: it records what arrives and answers as told."""

import asyncio
import threading
import time
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

from aiohttp import web


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One request as it came in; the times are of its last byte."""

    at: datetime
    monotonic: float
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What to answer: after `delay` seconds, or never, by closing the connection, with `drop`."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drop: bool = False


class Receiver:
    """A receiver on a loopback port with an event loop and a thread of its own, so that no test can hold it up.

    Used as a context manager. A path answers 200 with an empty body until told otherwise.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._arrivals: list[Arrival] = []
        self._replies: defaultdict[str, deque[Reply]] = defaultdict(deque)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="receiver", daemon=True)
        self._runner: web.AppRunner | None = None
        self._port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def url(self) -> str:
        """The receiver's address, without a slash at the end."""
        return f"http://127.0.0.1:{self._port}"

    def arrivals(self, path: str | None = None) -> list[Arrival]:
        """What has arrived so far, on that path or on all, in the order of arrival."""
        with self._lock:
            return [arrival for arrival in self._arrivals if path in {None, arrival.path}]

    def reply(self, path: str, *replies: Reply) -> None:
        """Answers the next requests on the path with these in turn, and with the last one from then on."""
        with self._lock:
            self._replies[path] = deque(replies)

    def forget(self) -> None:
        """Drops what has arrived."""
        with self._lock:
            self._arrivals.clear()

    async def _listen(self) -> None:
        app = web.Application(client_max_size=16 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, backlog=1024)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def _close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        await self._loop.shutdown_asyncgens()

    async def _handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        reply = self._record(request, body)
        if reply.delay:
            await asyncio.sleep(reply.delay)
        if reply.drop and request.transport is not None:
            request.transport.abort()
        return web.Response(status=reply.status, body=reply.body, headers=reply.headers)

    def _record(self, request: web.Request, body: bytes) -> Reply:
        arrival = Arrival(
            at=datetime.now(UTC),
            monotonic=time.monotonic(),
            method=request.method,
            path=request.path,
            query=request.query_string,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=body,
        )
        with self._lock:
            self._arrivals.append(arrival)
            replies = self._replies[request.path]
            if not replies:
                return Reply()
            return replies.popleft() if len(replies) > 1 else replies[0]
