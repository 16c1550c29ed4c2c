"""What every request passes: its id, its time limit, room for its body, errors as problems, its metrics."""

from __future__ import annotations

import asyncio
import re
from itertools import count
from typing import Final
from uuid import uuid4

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler
from aiohttp.web_exceptions import HTTPException

from durable_timer.clock import Clock
from durable_timer.errors import StoreFull, StoreUnavailable
from durable_timer.metrics import Metrics
from durable_timer.models import limits
from durable_timer_api.answers import problem_response
from durable_timer_api.deadlines import Deadlines
from durable_timer_api.problems import Code, Problem
from durable_timer_api.room import LEASE, Lease, Room, announced
from durable_timer_api.server import REQUEST_ID, Around
from durable_timer_api.settings import BridgeSettings

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)
_UNKNOWN: Final = "none"
"""The operation of a request that no route answers."""

_log = structlog.get_logger(__name__)


def build_middleware(
    names: dict[web.AbstractRoute, str], settings: BridgeSettings, clock: Clock, metrics: Metrics
) -> Around:
    """The one middleware; `names` gives the operation of each route, read when a request comes."""
    seconds = settings.request_timeout.total_seconds()
    deadlines = Deadlines(seconds)
    room = Room()
    prefix = uuid4().hex[:16]
    numbers = count(1)

    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        began = clock.monotonic()
        request_id = request.headers.get(REQUEST_ID)
        if request_id is None or _REQUEST_ID.fullmatch(request_id) is None:
            request_id = f"{prefix}{next(numbers):x}"
        deadline = deadlines.begin()
        lease = None
        if announced(request, limits.BATCH_BODY_MAX_BYTES) != 0:
            lease = request[LEASE] = Lease(room)
        try:
            response = await handler(request)
        except asyncio.CancelledError:
            if not deadline.caused_it():
                raise
            response = problem_response(_timed_out(seconds), request_id)
        except Problem as problem:
            response = problem_response(problem, request_id)
        except HTTPException as refusal:
            response = problem_response(_routing_problem(refusal), request_id)
        except Exception as error:  # noqa: BLE001 - the last resort: whatever it is, the client gets an answer
            response = problem_response(_fault(error, request, request_id, seconds), request_id)
        finally:
            deadlines.end(deadline)
            if lease is not None:
                lease.end()
        response.headers[REQUEST_ID] = request_id
        name = names.get(request.match_info.route, _UNKNOWN)
        metrics.request(name, response.status, clock.monotonic() - began)
        return response

    return middleware


def _routing_problem(refusal: HTTPException) -> Problem:
    if isinstance(refusal, web.HTTPMethodNotAllowed):
        allowed = ",".join(sorted(refusal.allowed_methods))
        return Problem(Code.METHOD_NOT_ALLOWED, f"this path knows {allowed}", headers={"Allow": allowed})
    return Problem(Code.NOT_FOUND, "there is nothing at this path")


def _timed_out(seconds: float) -> Problem:
    return Problem(Code.TIMEOUT, f"not done within {seconds:g} s; a write may or may not have happened")


def _fault(error: Exception, request: web.Request, request_id: str, seconds: float) -> Problem:
    if isinstance(error, StoreFull):
        return Problem(Code.STORE_FULL, "the store has no room; nothing was written")
    if isinstance(error, StoreUnavailable):
        _log.warning("store unavailable", request_id=request_id, path=request.path, error=str(error))
        return Problem(Code.STORE_UNAVAILABLE, "the store cannot be reached; a write may or may not have happened")
    if isinstance(error, TimeoutError):
        return _timed_out(seconds)
    if isinstance(error, web.RequestPayloadError) or (isinstance(error, ConnectionError) and request.transport is None):
        return Problem(Code.INVALID_JSON, "the body broke off, or is not what its headers say")
    _log.error("request failed", request_id=request_id, path=request.path, exc_info=error)
    return Problem(Code.INTERNAL, "an unexpected fault; the log has it under this request's id")
