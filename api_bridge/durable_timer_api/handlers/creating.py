"""The operation createTimer and createTimers."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Final

from aiohttp import web

from durable_timer.metrics import Metrics
from durable_timer.models import limits
from durable_timer.models.results import CreateResult, CreateStatus, IfExists
from durable_timer.models.timer import NewTimer
from durable_timer_api.answers import json_response, timer_response
from durable_timer_api.groups_cache import GroupsCache, ServedGroup
from durable_timer_api.json_text import Cursor, JsonError, JsonObject
from durable_timer_api.problems import Code, Problem, Wrong, invalid, pointer
from durable_timer_api.reading import Surroundings, new_timer
from durable_timer_api.rendering import render_timer
from durable_timer_api.requests import (
    choice,
    invalid_json,
    json_bytes,
    json_object,
    object_cursor,
    query,
    traceparent,
)

_BATCH_PARAMETERS: Final = frozenset({"ifExists"})
_LIFTED: Final = ("payload",)
_ITEMS_BETWEEN_PAUSES: Final = 32
"""Items of a batch dealt with at one go; other requests, and the engine, have their turn in between."""


class Creating:
    """Creates timers."""

    def __init__(self, groups: GroupsCache, metrics: Metrics) -> None:
        self._groups = groups
        self._metrics = metrics

    async def one(self, request: web.Request) -> web.Response:
        """The operation createTimer."""
        served = await self._groups.get(request.match_info["groupId"])
        if_exists = _if_exists(request)
        document = await json_object(request, limits.BODY_MAX_BYTES, *_LIFTED)
        timer = new_timer(document, self._surroundings(served, request))
        if isinstance(timer, list):
            raise invalid(timer)
        served.require_writable()
        result = await served.door.creates[if_exists].create(timer)
        if result.status is CreateStatus.CREATED:
            self._metrics.created(timer.group_id, 1)
            return timer_response(result.timer, HTTPStatus.CREATED, location=True)
        if problem := _conflict(result, if_exists):
            raise problem
        return timer_response(result.timer, location=True)

    async def batch(self, request: web.Request) -> web.Response:
        """The operation createTimers."""
        served = await self._groups.get(request.match_info["groupId"])
        if_exists = _if_exists(request)
        body = await json_bytes(request, limits.BATCH_BODY_MAX_BYTES)
        items = await _batch_items(body)
        read = await _read_items(items, self._surroundings(served, request))
        served.require_writable()
        timers = [item for item in read if isinstance(item, NewTimer)]
        results = iter(await served.door.store.create(timers, if_exists) if timers else [])
        answers: list[dict[str, object]] = []
        for item in read:
            if isinstance(item, NewTimer):
                answers.append(_item_answer(next(results), if_exists))
            else:
                answers.append(_problem_answer(invalid(item)))
            await _pause(len(answers))
        self._metrics.created(served.group.group_id, sum(answer["status"] == HTTPStatus.CREATED for answer in answers))
        return json_response({"results": answers})

    def _surroundings(self, served: ServedGroup, request: web.Request) -> Surroundings:
        group = served.group
        return Surroundings(
            group.group_id, group.shards, served.payloads, self._groups.now(served.door), traceparent(request)
        )


async def _read_items(items: list[JsonObject | Wrong], where: Surroundings) -> list[NewTimer | list[Wrong]]:
    read: list[NewTimer | list[Wrong]] = []
    for index, item in enumerate(items):
        read.append([item] if isinstance(item, Wrong) else new_timer(item, where, "timers", index))
        await _pause(len(read))
    return read


async def _pause(done: int) -> None:
    if done % _ITEMS_BETWEEN_PAUSES == 0:
        await asyncio.sleep(0)


def _item_answer(result: CreateResult, if_exists: IfExists) -> dict[str, object]:
    if problem := _conflict(result, if_exists, payload=False):
        return _problem_answer(problem)
    status = HTTPStatus.CREATED if result.status is CreateStatus.CREATED else HTTPStatus.OK
    return {"status": status.value, "timer": render_timer(result.timer, payload=False)}


def _problem_answer(problem: Problem) -> dict[str, object]:
    return {"status": problem.code.status.value, "problem": problem.to_json()}


def _if_exists(request: web.Request) -> IfExists:
    if not request.query_string:
        return IfExists.FAIL
    return choice(query(request, _BATCH_PARAMETERS), "ifExists", IfExists, IfExists.FAIL)


def _conflict(result: CreateResult, if_exists: IfExists, *, payload: bool = True) -> Problem | None:
    timer = result.timer
    if result.status is CreateStatus.EXECUTING:
        return Problem(Code.TIMER_EXECUTING, f'timer "{timer.timer_id}" is being delivered')
    if result.status is not CreateStatus.CONFLICT:
        return None
    if if_exists is IfExists.REPLACE:
        return Problem(Code.TIMER_MANAGED, f'timer "{timer.timer_id}" is declared as a Timer resource; change it there')
    return Problem(
        Code.TIMER_EXISTS,
        f'timer "{timer.timer_id}" exists with other values',
        timer=render_timer(timer, payload=payload),
    )


async def _batch_items(body: bytes) -> list[JsonObject | Wrong]:
    """The items of `{"timers": […]}`; one that is no object is wrong by itself."""
    items: list[JsonObject | Wrong] | None = None
    errors: list[Wrong] = []
    try:
        cursor = object_cursor(body)
        for name in cursor.names():
            if name == "timers" and cursor.is_at("["):
                items = await _items(cursor)
            else:
                cursor.value(name)
                rule = "must be an array" if name == "timers" else "is not a known field"
                errors.append(Wrong(rule, pointer=pointer(name)))
        cursor.end()
    except JsonError as error:
        raise invalid_json(error) from None
    if items is None and not any(wrong.pointer == "/timers" for wrong in errors):
        errors.append(Wrong("is required", pointer="/timers"))
    if items is not None and not 1 <= len(items) <= limits.ITEMS_MAX:
        errors.append(Wrong(f"must have 1 to {limits.ITEMS_MAX} items, has {len(items)}", pointer="/timers"))
    if errors or items is None:
        raise invalid(errors)
    return items


async def _items(cursor: Cursor) -> list[JsonObject | Wrong]:
    items: list[JsonObject | Wrong] = []
    for _ in cursor.items():
        if cursor.is_at("{"):
            items.append(cursor.object(_LIFTED, "timers", len(items)))
        else:
            cursor.value("timers", len(items))
            items.append(Wrong("must be an object", pointer=pointer("timers", len(items))))
        await _pause(len(items))
    return items
