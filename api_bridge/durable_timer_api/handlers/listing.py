"""The operation listTimers."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from aiohttp import web

from durable_timer.models import limits
from durable_timer.models.page import ListOrder, Page, Position, TimerFilter
from durable_timer.models.timer import Timer
from durable_timer.stores.base import Store
from durable_timer_api.answers import json_response
from durable_timer_api.filters import FILTER_PARAMETERS, REPEATABLE, filter_of_query, require_supported
from durable_timer_api.groups_cache import GroupsCache
from durable_timer_api.pages import filter_hash, page_token, read_page_token
from durable_timer_api.problems import Wrong, invalid
from durable_timer_api.rendering import render_timer
from durable_timer_api.requests import choice, query

_PARAMETERS: Final = FILTER_PARAMETERS | {"pageSize", "pageToken", "view"}
_FULL_ROWS_FIRST: Final = 16
"""Rows read at first with their payloads, of up to 1 MiB each; then as many as their mean size allows."""


class View(StrEnum):
    """How much of each item a list answers."""

    BASIC = "basic"
    FULL = "full"


class Listing:
    """Lists timers."""

    def __init__(self, groups: GroupsCache) -> None:
        self._groups = groups

    async def timers(self, request: web.Request) -> web.Response:
        """The operation listTimers."""
        served = await self._groups.get(request.match_info["groupId"])
        group_id, store = served.group.group_id, served.door.store
        found = query(request, _PARAMETERS, REPEATABLE)
        where = filter_of_query(found)
        view = choice(found, "view", View, View.BASIC)
        limit = page_size(found)
        require_supported(where, store)
        bound_to = filter_hash("list", group_id, where)
        after = None
        if "pageToken" in found:
            after, _ = read_page_token(found["pageToken"][0], bound_to, where.order)
        async with served.door.turns.turn(limit):
            if view is View.FULL:
                page = await full_page(store, group_id, where, limit, after)
            else:
                page = await store.list(group_id, where, limit=limit, after=after, payloads=False)
            return json_response(
                {
                    "timers": [render_timer(timer, payload=view is View.FULL) for timer in page.timers],
                    "nextPageToken": None if page.end is None else page_token(bound_to, page.end),
                }
            )


def page_size(found: Mapping[str, list[str]]) -> int:
    """The parameter `pageSize`. Raises: Problem INVALID_INPUT."""
    text = found["pageSize"][0] if "pageSize" in found else str(limits.PAGE_SIZE_DEFAULT)
    if text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= limits.PAGE_SIZE_MAX:  # noqa: PLR2004
        return int(text)
    raise invalid([Wrong(f"must be a whole number from 1 to {limits.PAGE_SIZE_MAX}", parameter="pageSize")])


async def full_page(store: Store, group_id: str, where: TimerFilter, limit: int, after: Position | None) -> Page:
    """A page with payloads that ends early where it would grow over 16 MiB, read in pieces that bound memory."""
    timers: list[Timer] = []
    size = 0
    piece = _FULL_ROWS_FIRST
    while True:
        page = await store.list(group_id, where, limit=min(piece, limit - len(timers)), after=after, payloads=True)
        for timer in page.timers:
            size += len(timer.payload or b"")
            if size > limits.PAGE_BODY_MAX_BYTES and timers:
                return Page(tuple(timers), _position(timers[-1], where.order))
            timers.append(timer)
        after = page.end
        if after is None or len(timers) >= limit:
            return Page(tuple(timers), after)
        left = limits.PAGE_BODY_MAX_BYTES - size
        piece = max(_FULL_ROWS_FIRST, left * len(timers) // max(size, 1))


def _position(timer: Timer, order: ListOrder) -> Position:
    at = {ListOrder.BY_ID: None, ListOrder.BY_DUE: timer.due_at, ListOrder.BY_EXECUTED: timer.executed_at}[order]
    return Position(at, timer.timer_id)
