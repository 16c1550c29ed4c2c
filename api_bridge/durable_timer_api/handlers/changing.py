"""getTimer, putTimer, patchTimer, deleteTimer, runTimer, redriveTimer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final

import orjson
from aiohttp import web

from durable_timer.models import limits
from durable_timer.models.checks import check_timer_id, is_json_media_type
from durable_timer.models.results import DeleteStatus, Refusal, Target, Version, WhenRunning, WriteResult
from durable_timer.models.timer import UNSET, Timer, TimerChange, Unset
from durable_timer.planning.fingerprint import JsonPayload
from durable_timer_api.answers import refusal_problem, timer_response
from durable_timer_api.batches import LIFTED
from durable_timer_api.bodies import Bodies
from durable_timer_api.groups_cache import GroupsCache, ServedGroup
from durable_timer_api.json_text import parse
from durable_timer_api.payloads import Payload
from durable_timer_api.problems import Code, Problem, Wrong, invalid
from durable_timer_api.reading import Change, Surroundings, timer_change
from durable_timer_api.requests import choice, if_match, query

_DELETE_PARAMETERS: Final = frozenset({"whenRunning"})
_TRIES: Final = 5
"""How often a change that compares the payload first is begun, while others keep changing the timer."""


_Verb = Callable[[str, Sequence[Target]], Awaitable[list[WriteResult]]]


class Changing:
    """Reads and writes single timers."""

    def __init__(self, groups: GroupsCache, bodies: Bodies) -> None:
        self._groups = groups
        self._bodies = bodies

    async def get(self, request: web.Request) -> web.Response:
        """The operation getTimer."""
        served, timer_id = await self._addressed(request)
        query(request, ())
        timer = await _get(served, timer_id)
        if timer is None:
            raise _refused(Refusal.NOT_FOUND, served, timer_id, None)
        return timer_response(timer)

    async def put(self, request: web.Request) -> web.Response:
        """The operations putTimer and patchTimer."""
        served, timer_id = await self._addressed(request)
        query(request, ())
        group = served.group
        where = Surroundings(group.group_id, group.shards, served.payloads, self._groups.now(served.door))
        change = await self._bodies.read(
            request, limits.BODY_MAX_BYTES, LIFTED, lambda document: timer_change(document, timer_id, where)
        )
        if isinstance(change, list):
            raise invalid(change)
        target = Target(timer_id, if_match(request))
        await _require_writable(served, target)
        if change.too_far:
            present = await _get(served, timer_id)
            if present is None:
                raise _refused(Refusal.NOT_FOUND, served, timer_id, None)
            if wrong := change.wrong_for(present):
                raise invalid(wrong)
        result = await _update(served, target, change)
        if result.refusal is not None or result.timer is None:
            raise _refused(result.refusal or Refusal.NOT_FOUND, served, timer_id, result.timer)
        return timer_response(result.timer)

    async def delete(self, request: web.Request) -> web.Response:
        """The operation deleteTimer."""
        served, timer_id = await self._addressed(request)
        when_running = choice(query(request, _DELETE_PARAMETERS), "whenRunning", WhenRunning, WhenRunning.REFUSE)
        target = Target(timer_id, if_match(request))
        await _require_writable(served, target)
        (result,) = await served.door.store.delete(served.group.group_id, [target], when_running)
        if result.refusal is not None:
            raise _refused(result.refusal, served, timer_id, result.timer)
        return web.Response(status=202 if result.status is DeleteStatus.STOPPING else 204)

    async def run(self, request: web.Request) -> web.Response:
        """The operation runTimer."""
        served, timer_id = await self._addressed(request)
        return await self._acted(request, served, timer_id, served.door.store.run)

    async def redrive(self, request: web.Request) -> web.Response:
        """The operation redriveTimer."""
        served, timer_id = await self._addressed(request)
        return await self._acted(request, served, timer_id, served.door.store.redrive)

    async def _acted(self, request: web.Request, served: ServedGroup, timer_id: str, verb: _Verb) -> web.Response:
        query(request, ())
        target = Target(timer_id, if_match(request))
        await _require_writable(served, target)
        (result,) = await verb(served.group.group_id, [target])
        if result.refusal is not None or result.timer is None:
            raise _refused(result.refusal or Refusal.NOT_FOUND, served, timer_id, result.timer)
        return timer_response(result.timer)

    async def _addressed(self, request: web.Request) -> tuple[ServedGroup, str]:
        served = await self._groups.get(request.match_info["groupId"])
        timer_id = request.match_info["timerId"]
        try:
            check_timer_id(timer_id)
        except ValueError as error:
            raise invalid([Wrong(str(error), parameter="timerId")]) from None
        return served, timer_id


async def _get(served: ServedGroup, timer_id: str) -> Timer | None:
    (timer,) = await served.door.store.get(served.group.group_id, [timer_id])
    return timer


async def _require_writable(served: ServedGroup, target: Target) -> None:
    """Raises: Problem, for a group that is not active; what is wrong with the timer comes first."""
    try:
        served.require_writable()
    except Problem:
        timer = await _get(served, target.timer_id)
        if timer is None:
            raise _refused(Refusal.NOT_FOUND, served, target.timer_id, None) from None
        if target.if_version not in {None, Version(timer.uid, timer.version)}:
            raise _refused(Refusal.VERSION_MISMATCH, served, target.timer_id, timer) from None
        raise


async def _update(served: ServedGroup, target: Target, change: Change) -> WriteResult:
    """Writes a change; a payload or content type that says nothing new is left out, against the version it was compared with."""
    store, group_id = served.door.store, served.group.group_id
    if change.payload is UNSET and change.content_type is UNSET:
        return await store.update(group_id, target, change.plain)
    for _ in range(_TRIES):
        present = await _get(served, target.timer_id)
        if present is None:
            return WriteResult(None, Refusal.NOT_FOUND)
        seen = Version(present.uid, present.version)
        if target.if_version not in {None, seen}:
            return WriteResult(present, Refusal.VERSION_MISMATCH)
        compared = replace(target, if_version=seen)
        result = await store.update(group_id, compared, _with_payload(change, present))
        if result.refusal is not Refusal.VERSION_MISMATCH or target.if_version is not None:
            return result
    raise Problem(Code.CONFLICT, f'timer "{target.timer_id}" kept changing meanwhile')


def _with_payload(change: Change, present: Timer) -> TimerChange:
    payload = change.payload
    if isinstance(payload, Unset):
        if change.content_type != present.content_type:
            raise invalid([Wrong("must come with payload or payloadBase64", pointer="/contentType")])
        return change.plain
    if payload is None:
        return replace(change.plain, payload=None, content_type=None)
    if _says_the_same(payload, present):
        return change.plain
    return replace(change.plain, payload=payload.content, content_type=payload.content_type)


def _says_the_same(payload: Payload, present: Timer) -> bool:
    if present.payload is None or payload.content_type != present.content_type:
        return False
    if payload.content == present.payload:
        return True
    is_json = present.content_type is None or is_json_media_type(present.content_type)
    if not is_json or not isinstance(payload.value, JsonPayload):
        return False
    return _canonical(payload.value.value) == _canonical(parse(present.payload))


def _canonical(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _refused(refusal: Refusal, served: ServedGroup, timer_id: str, timer: Timer | None) -> Problem:
    return refusal_problem(refusal, served.group.group_id, timer_id, timer)
