"""aiohttp's server, answering what is not even HTTP as the contract answers everything else.

`AppRunner._make_server` and `Server._kwargs` are aiohttp's own; there is no other way to its per-connection handler.
"""

from __future__ import annotations

from http import HTTPStatus
from uuid import uuid4

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest

from durable_timer_api.answers import problem_response
from durable_timer_api.problems import Code, Problem

REQUEST_ID = "X-Request-Id"

_log = structlog.get_logger(__name__)


class ProblemRunner(web.AppRunner):
    """Runs an application; requests that cannot be parsed are answered with a problem, and logged in one line."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
            made.request_handler,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            **made._kwargs,  # noqa: SLF001 - see the module
        )


class _Server(web.Server):
    def __call__(self) -> RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(RequestHandler):
    __slots__ = ()

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
