"""Responses: JSON bodies, a timer with its headers, and what a store's refusal is called on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import orjson
from aiohttp import web

from durable_timer.models.results import Refusal
from durable_timer.models.timer import Timer, etag
from durable_timer_api.problems import MEDIA_TYPE, Code, Problem
from durable_timer_api.rendering import timer_json

JSON: Final = "application/json"


def json_response(body: Mapping[str, object] | bytes, status: int = 200) -> web.Response:
    """A JSON answer; bytes are JSON already."""
    text = body if isinstance(body, bytes) else orjson.dumps(body)
    return web.Response(body=text, status=status, headers={"Content-Type": JSON})


def timer_response(timer: Timer, status: int = 200, *, location: bool = False) -> web.Response:
    """A whole timer with its ETag, and with its Location where it was created."""
    headers = {"Content-Type": JSON, "ETag": etag(timer.uid, timer.version)}
    if location:
        headers["Location"] = timer_path(timer.group_id, timer.timer_id)
    return web.Response(body=timer_json(timer), status=status, headers=headers)


def problem_response(problem: Problem, request_id: str) -> web.Response:
    """An error."""
    return web.Response(
        body=orjson.dumps(problem.to_json(request_id)),
        status=problem.code.status,
        headers={**problem.all_headers, "Content-Type": MEDIA_TYPE},
    )


def timer_path(group_id: str, timer_id: str) -> str:
    """Where a timer is found; ids need no quoting."""
    return f"/api/v1/groups/{group_id}/timers/{timer_id}"


def refusal_problem(refusal: Refusal, group_id: str, timer_id: str, timer: Timer | None) -> Problem:
    """What the store's refusal to write a timer is called."""
    state = "gone" if timer is None else timer.state
    match refusal:
        case Refusal.NOT_FOUND:
            return Problem(Code.TIMER_NOT_FOUND, f'group "{group_id}" has no timer "{timer_id}"')
        case Refusal.VERSION_MISMATCH:
            return Problem(Code.VERSION_MISMATCH, f'timer "{timer_id}" has another version than If-Match')
        case Refusal.MANAGED:
            return Problem(Code.TIMER_MANAGED, f'timer "{timer_id}" is declared as a Timer resource; change it there')
        case Refusal.EXECUTING:
            return Problem(Code.TIMER_EXECUTING, f'timer "{timer_id}" is being delivered')
        case Refusal.FINISHED:
            return Problem(Code.TIMER_FINISHED, f'timer "{timer_id}" is {state}')
        case Refusal.NOT_FAILED:
            return Problem(Code.TIMER_NOT_FAILED, f'timer "{timer_id}" is {state}; only failed timers can be redriven')
