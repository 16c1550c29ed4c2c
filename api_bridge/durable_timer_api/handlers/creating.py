"""The operation createTimer and createTimers."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Final

import orjson
from aiohttp import web

from durable_timer.metrics import Metrics
from durable_timer.models import limits
from durable_timer.models.results import CreateResult, CreateStatus, IfExists
from durable_timer.models.timer import NewTimer
from durable_timer_api.answers import json_response, timer_response
from durable_timer_api.batches import LIFTED, Turns, read_batch
from durable_timer_api.bodies import Bodies, json_bytes
from durable_timer_api.groups_cache import GroupsCache, ServedGroup
from durable_timer_api.plain import plain_timer
from durable_timer_api.problems import Code, Problem, invalid
from durable_timer_api.reading import Surroundings, new_timer
from durable_timer_api.rendering import render_timer, timer_json
from durable_timer_api.requests import choice, query, traceparent

_BATCH_PARAMETERS: Final = frozenset({"ifExists"})


class Creating:
    """Creates timers."""

    def __init__(self, groups: GroupsCache, bodies: Bodies, metrics: Metrics) -> None:
        self._groups = groups
        self._bodies = bodies
        self._metrics = metrics

    async def one(self, request: web.Request) -> web.Response:
        """The operation createTimer."""
        served = await self._groups.get(request.match_info["groupId"])
        if_exists = _if_exists(request)
        body = await json_bytes(request, limits.BODY_MAX_BYTES)
        where = self._surroundings(served, request)
        timer = plain_timer(body, where)
        if timer is None:
            timer = await self._read(body, where)
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
        read = await read_batch(body, self._bodies, self._surroundings(served, request))
        served.require_writable()
        timers = [item for item in read if isinstance(item, NewTimer)]
        results = iter(await served.door.store.create(timers, if_exists) if timers else [])
        answers: list[bytes] = []
        created = 0
        turns = Turns()
        for item in read:
            if isinstance(item, NewTimer):
                result = next(results)
                created += result.status is CreateStatus.CREATED
                answers.append(_item_answer(result, if_exists))
            else:
                answers.append(_problem_answer(invalid(item)))
            if turns.is_over(1):
                await asyncio.sleep(0)
        self._metrics.created(served.group.group_id, created)
        return json_response(b'{"results":[%b]}' % b",".join(answers))

    async def _read(self, body: bytes, where: Surroundings) -> NewTimer:
        timer = await self._bodies.document(body, LIFTED, lambda document: new_timer(document, where))
        if isinstance(timer, list):
            raise invalid(timer)
        return timer

    def _surroundings(self, served: ServedGroup, request: web.Request) -> Surroundings:
        group = served.group
        return Surroundings(
            group.group_id, group.shards, served.payloads, self._groups.now(served.door), traceparent(request)
        )


def _item_answer(result: CreateResult, if_exists: IfExists) -> bytes:
    if result.status is CreateStatus.CREATED:
        return b'{"status":201,"timer":%b}' % timer_json(result.timer, payload=False)
    if problem := _conflict(result, if_exists, payload=False):
        return _problem_answer(problem)
    return b'{"status":200,"timer":%b}' % timer_json(result.timer, payload=False)


def _problem_answer(problem: Problem) -> bytes:
    return orjson.dumps({"status": problem.code.status.value, "problem": problem.to_json()})


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
