"""The operation cancelTimers and redriveTimers: by ids, or by filter in pieces of up to 1,000."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, TypeVar

from aiohttp import web

from durable_timer.models import limits
from durable_timer.models.page import Page, Position, TimerFilter
from durable_timer.models.results import DeleteResult, DeleteStatus, Refusal, Target, Version, WhenRunning
from durable_timer.models.timer import Timer, TimerState
from durable_timer_api.answers import json_response, refusal_problem
from durable_timer_api.bodies import Bodies
from durable_timer_api.filters import failed_filter, filter_of_body, require_supported
from durable_timer_api.groups_cache import GroupsCache, ServedGroup
from durable_timer_api.invalid import read_body
from durable_timer_api.pages import filter_hash, page_token, read_page_token
from durable_timer_api.problems import Wrong, invalid
from durable_timer_api.requests import choice, query
from durable_timer_api.schemas import CancelBody, FailedFilterBody, FilterBody, RedriveBody

S = TypeVar("S", CancelBody, RedriveBody)

_CANCEL_PARAMETERS: Final = frozenset({"whenRunning"})
_TRIES: Final = 3
"""How often a timer that changed between being found and being cancelled is looked at again."""


class Selecting:
    """Cancels and redrives many timers."""

    def __init__(self, groups: GroupsCache, bodies: Bodies) -> None:
        self._groups = groups
        self._bodies = bodies

    async def cancel(self, request: web.Request) -> web.Response:
        """The operation cancelTimers."""
        served = await self._groups.get(request.match_info["groupId"])
        found = query(request, _CANCEL_PARAMETERS)
        when_running = choice(found, "whenRunning", WhenRunning, WhenRunning.REFUSE)
        body = await self._bodies.read(
            request, limits.BODY_MAX_BYTES, (), lambda document: _selection(CancelBody, document.members)
        )
        served.require_writable()
        if body.ids is not None:
            targets = [Target(timer_id) for timer_id in body.ids]
            results = await served.door.store.delete(served.group.group_id, targets, when_running)
            answers = [
                _answer(served, target, result.refusal, result.timer, 202 if _is_stopping(result) else 204)
                for target, result in zip(targets, results, strict=True)
            ]
            return json_response({"results": answers})
        async with served.door.turns.turn(limits.ITEMS_MAX):
            return await self._cancel_found(served, body, when_running)

    async def _cancel_found(self, served: ServedGroup, body: CancelBody, when_running: WhenRunning) -> web.Response:
        where = filter_of_body(body.filter or FilterBody())
        bound_to = filter_hash(f"cancel {when_running}", served.group.group_id, where)
        after = None
        if body.page_token is not None:
            after, _ = read_page_token(body.page_token, bound_to, where.order)
        page = await _page(served, where, after)
        count = await _cancel_rows(served, page.timers, where, when_running)
        return _counted(count, None if page.end is None else page_token(bound_to, page.end))

    async def redrive(self, request: web.Request) -> web.Response:
        """The operation redriveTimers."""
        served = await self._groups.get(request.match_info["groupId"])
        query(request, ())
        body = await self._bodies.read(
            request, limits.BODY_MAX_BYTES, (), lambda document: _selection(RedriveBody, document.members)
        )
        served.require_writable()
        if body.ids is not None:
            targets = [Target(timer_id) for timer_id in body.ids]
            results = await served.door.store.redrive(served.group.group_id, targets)
            answers = [
                _answer(served, target, result.refusal, result.timer, 200)
                for target, result in zip(targets, results, strict=True)
            ]
            return json_response({"results": answers})
        async with served.door.turns.turn(limits.ITEMS_MAX):
            return await self._redrive_found(served, body)

    async def _redrive_found(self, served: ServedGroup, body: RedriveBody) -> web.Response:
        store, group_id = served.door.store, served.group.group_id
        where = failed_filter(body.filter or FailedFilterBody())
        bound_to = filter_hash("redrive", group_id, where)
        after, begun = None, None
        if body.page_token is not None:
            after, begun = read_page_token(body.page_token, bound_to, where.order)
        begun = begun or await store.now()
        page = await _page(served, replace(where, executed_before=begun), after)
        targets = [Target(timer.timer_id, Version(timer.uid, timer.version)) for timer in page.timers]
        results = await store.redrive(group_id, targets) if targets else []
        count = sum(result.refusal is None for result in results)
        return _counted(count, None if page.end is None else page_token(bound_to, page.end, begun))


def _selection(model: type[S], members: dict[str, object]) -> S:
    body, errors = read_body(model, members)
    ids, where = members.get("ids"), members.get("filter")
    if (ids is None) == (where is None):
        errors.append(Wrong("exactly one of ids and filter must be given", pointer=""))
    if ids is not None and members.get("pageToken") is not None:
        errors.append(Wrong("goes with filter alone", pointer="/pageToken"))
    if errors or body is None:
        raise invalid(errors)
    return body


async def _page(served: ServedGroup, where: TimerFilter, after: Position | None) -> Page:
    require_supported(where, served.door.store)
    return await served.door.store.list(
        served.group.group_id, where, limit=limits.ITEMS_MAX, after=after, payloads=False
    )


async def _cancel_rows(
    served: ServedGroup, rows: Sequence[Timer], where: TimerFilter, when_running: WhenRunning
) -> int:
    """Deletes rows as they were found; one that changed meanwhile is looked at again, and left when it no longer matches."""
    store, group_id = served.door.store, served.group.group_id
    count = 0
    for _ in range(_TRIES):
        if not rows:
            break
        targets = [Target(row.timer_id, Version(row.uid, row.version)) for row in rows]
        results = await store.delete(group_id, targets, when_running)
        count += sum(result.refusal is None for result in results)
        changed = [
            target.timer_id
            for target, result in zip(targets, results, strict=True)
            if result.refusal is Refusal.VERSION_MISMATCH
        ]
        again = await store.get(group_id, changed) if changed else []
        rows = [row for row in again if row is not None and _matches(row, where)]
    return count


def _matches(row: Timer, where: TimerFilter) -> bool:
    due = where.due_from is not None or where.due_before is not None
    if where.states and row.state not in where.states:
        return False
    if due and not (
        row.state is TimerState.PENDING
        and (where.due_from is None or where.due_from <= row.due_at)
        and (where.due_before is None or row.due_at < where.due_before)
    ):
        return False
    labels = row.labels or {}
    return row.timer_id.startswith(where.id_prefix or "") and all(
        labels.get(name) == value for name, value in where.labels
    )


def _is_stopping(result: DeleteResult) -> bool:
    return result.status is DeleteStatus.STOPPING


def _answer(
    served: ServedGroup, target: Target, refusal: Refusal | None, timer: Timer | None, status: int
) -> dict[str, object]:
    if refusal is None:
        return {"id": target.timer_id, "status": status}
    problem = refusal_problem(refusal, served.group.group_id, target.timer_id, timer)
    return {"id": target.timer_id, "status": problem.code.status.value, "problem": problem.to_json()}


def _counted(count: int, token: str | None) -> web.Response:
    return json_response({"count": count, "nextPageToken": token})
