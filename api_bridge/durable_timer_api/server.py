"""aiohttp's server, answering what is not even HTTP as the contract answers everything else.

`AppRunner._make_server`, `Server._kwargs` and `Request._match_info` are aiohttp's own; there is no other way to its
per-connection handler, nor past what `Application._handle` does for applications within applications.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final
from uuid import uuid4

import structlog
from aiohttp import HttpVersion11, web
from aiohttp.typedefs import Handler
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest

from durable_timer.models import limits
from durable_timer_api.answers import problem_response
from durable_timer_api.problems import Code, Problem

REQUEST_ID = "X-Request-Id"

_API: Final = "/api/v1"
_ANSWERED: Final = 2
"""Connections for each that is served, up to which they are answered at all."""

GOODBYE: Final = 2.0
"""Seconds for which clients are asked to leave before their idle connections are cut: one might just be sending into it."""

_PATHS_MAX: Final = 1024
"""Paths whose routes are remembered: to find one takes twenty times as long."""

_PATH_MAX: Final = 256
"""Characters of a path that is remembered."""

_log = structlog.get_logger(__name__)


Around = Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]


class ProblemRunner(web.AppRunner):
    """Runs an application; requests that cannot be parsed are answered with a problem, and logged in one line.

    `around`, where there is one, is given each request and the handler of its route. `head_timeout` is how many seconds a request may take
    from its first byte to the end of its headers.
    """

    def __init__(self, app: web.Application, around: Around | None, *, head_timeout: float, **kwargs: Any) -> None:
        super().__init__(app, **kwargs)
        self._around = around
        self._head_timeout = head_timeout
        self._leaving = False

    async def cleanup(self) -> None:
        """Answers on, each answer the last of its connection, until no connection is left or `GOODBYE` is over; then ends."""
        self._leaving = True
        if isinstance(self.server, _Server):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GOODBYE):
                    await self.server.none_open.wait()
        await super().cleanup()

    def _handler(self, around: Around) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """What the application does with one middleware and no application inside, without looking for either."""
        app = self.app
        found: dict[tuple[str, str], tuple[dict[str, str], web.AbstractRoute]] = {}

        async def handle(request: web.Request) -> web.StreamResponse:
            key = request.method, request.rel_url.raw_path
            known = found.get(key)
            if known is None:
                match_info = await app.router.resolve(request)
                if match_info.http_exception is None and len(key[1]) <= _PATH_MAX:
                    if len(found) >= _PATHS_MAX:
                        found.clear()
                    found[key] = (dict(match_info), match_info.route)
            else:
                match_info = web.UrlMappingMatchInfo(*known)
            match_info.add_app(app)
            match_info.freeze()
            request._match_info = match_info  # noqa: SLF001 - see the module
            if request.headers.get("Expect"):
                await _meet_expectation(request)
            if isinstance(request.protocol, _Connection) and request.protocol.is_beyond:
                is_probe = not request.path.startswith(_API)
                response = await around(request, match_info.handler if is_probe else _refuse)
                response.force_close()
                return response
            response = await around(request, match_info.handler)
            if self._leaving:
                response.force_close()
            return response

        return handle

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
            self._head_timeout,
            made.request_handler if self._around is None else self._handler(self._around),
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            **made._kwargs,  # noqa: SLF001 - see the module
        )


async def _refuse(_request: web.Request) -> web.StreamResponse:
    raise Problem(Code.NOT_READY, f"{limits.CONNECTIONS_MAX} connections are open already; nothing was done")


async def _meet_expectation(request: web.Request) -> None:
    """Tells a client to go on that asks before it sends its body; other expectations are passed over (RFC 9110, 10.1.1)."""
    if request.version >= HttpVersion11 and request.headers["Expect"].lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0


class _Server(web.Server):
    def __init__(self, head_timeout: float, handler: Callable[..., Any], **kwargs: Any) -> None:
        super().__init__(handler, **kwargs)
        self._head_timeout = head_timeout
        self.open = 0
        """Connections there are."""
        self.none_open = asyncio.Event()
        self.none_open.set()

    def __call__(self) -> RequestHandler:
        return _Connection(self._head_timeout, self, loop=self._loop, **self._kwargs)


class _Connection(RequestHandler):
    __slots__ = ("_head_late", "_head_timeout", "_server", "is_beyond")

    def __init__(self, head_timeout: float, server: _Server, **kwargs: Any) -> None:
        super().__init__(server, **kwargs)
        self._head_timeout = head_timeout
        self._server = server
        self.is_beyond = False
        """Whether there were as many connections as there may be when it was made."""

        self._head_late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Counts it; far too many are not even answered."""
        super().connection_made(transport)
        self._server.open += 1
        self._server.none_open.clear()
        self.is_beyond = self._server.open > limits.CONNECTIONS_MAX
        if self._server.open > _ANSWERED * limits.CONNECTIONS_MAX:
            self.force_close()

    def data_received(self, data: bytes) -> None:
        """Hands on what came in; while a request has begun and not got to its body, a clock runs."""
        super().data_received(data)
        waits = self._waiter is not None and not self._waiter.done()
        if waits and self._head_late is None:
            self._head_late = self._loop.call_later(self._head_timeout, self.force_close)
        elif not waits and self._head_late is not None:
            self._stop_clock()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Ends what belongs to the connection."""
        self._stop_clock()
        self._server.open -= 1
        if not self._server.open:
            self._server.none_open.set()
        super().connection_lost(exc)

    def _stop_clock(self) -> None:
        if self._head_late is not None:
            self._head_late.cancel()
            self._head_late = None

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what the parser refused, or to a fault outside the application; ends the connection."""
        if request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        request_id = uuid4().hex
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            _log.error("request failed", request_id=request_id, exc_info=exc)
            problem = Problem(Code.INTERNAL, "an unexpected fault; the log has it under this request's id")
        else:
            _log.info("not HTTP", request_id=request_id, remote=request.remote, error=type(exc).__name__)
            problem = Problem(Code.MALFORMED_REQUEST, _first_line(message))
        response = problem_response(problem, request_id)
        response.headers[REQUEST_ID] = request_id
        response.force_close()
        return response


def _first_line(message: str | None) -> str:
    lines = (message or "").strip().splitlines()
    return f"the request is not well-formed HTTP: {lines[0][:100] if lines else 'it cannot be read'}"
