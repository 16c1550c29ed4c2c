"""The operation listGroups and getGroup."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

import orjson
from aiohttp import web

from durable_timer.models.group import spec_to_json
from durable_timer.models.instants import format_instant
from durable_timer.models.ownership import Member, Shard
from durable_timer.models.page import Counts, ListOrder, Position, TimerFilter
from durable_timer_api.answers import json_response
from durable_timer_api.groups_cache import GroupsCache, ServedGroup
from durable_timer_api.handlers.listing import View, page_size
from durable_timer_api.pages import filter_hash, page_token, read_page_token
from durable_timer_api.requests import choice, query

_PARAMETERS: Final = frozenset({"pageSize", "pageToken", "view"})
_NO_FILTER: Final = TimerFilter()
_COUNTS_AT_ONCE: Final = 4
"""Groups counted at the same time, so that a list of groups leaves connections to others."""


class Groups:
    """Reads groups."""

    def __init__(self, groups: GroupsCache) -> None:
        self._groups = groups

    async def list(self, request: web.Request) -> web.Response:
        """The operation listGroups."""
        found = query(request, _PARAMETERS)
        view = choice(found, "view", View, View.BASIC)
        size = page_size(found)
        bound_to = filter_hash("groups", "", _NO_FILTER)
        after = ""
        if "pageToken" in found:
            after = read_page_token(found["pageToken"][0], bound_to, ListOrder.BY_ID)[0].timer_id
        later = [served for served in self._groups.all() if served.group.group_id > after]
        page = later[:size]
        answers = await _all_full(page) if view is View.FULL else [_basic(served) for served in page]
        last = page[-1].group.group_id if len(later) > size else None
        token = None if last is None else page_token(bound_to, Position(None, last))
        return json_response({"groups": answers, "nextPageToken": token})

    async def get(self, request: web.Request) -> web.Response:
        """The operation getGroup."""
        served = await self._groups.get(request.match_info["groupId"])
        query(request, ())
        (answer,) = await _all_full([served])
        return json_response(answer)


def _basic(served: ServedGroup) -> dict[str, object]:
    group = served.group
    return {
        "groupId": group.group_id,
        "owner": group.owner,
        "state": group.state,
        "stateSince": format_instant(group.state_since),
        "shards": group.shards,
        "executorPool": group.pool,
        "generation": group.generation,
        "spec": orjson.Fragment(spec_to_json(group.spec)),
    }


async def _all_full(page: list[ServedGroup]) -> list[dict[str, object]]:
    """The groups with their counts, a few at a time, and their members, each pool read once."""
    pools: dict[tuple[str, str], tuple[list[Shard], list[Member]]] = {}
    for served in page:
        place = served.door.name, served.group.pool
        if place not in pools:
            store = served.door.store
            (shards, _), members = await asyncio.gather(
                store.shards(served.group.pool), store.members(served.group.pool)
            )
            pools[place] = shards, members
    places = asyncio.Semaphore(_COUNTS_AT_ONCE)

    async def full(served: ServedGroup) -> dict[str, object]:
        async with places:
            counts = await served.door.store.counts(served.group.group_id)
        shards, members = pools[served.door.name, served.group.pool]
        own = [shard for shard in shards if shard.group_id == served.group.group_id]
        return {**_basic(served), "counts": counts_json(counts), "members": _members(own, members)}

    return await asyncio.gather(*(full(served) for served in page))


def counts_json(counts: Counts) -> dict[str, object]:
    """Counts on the wire."""
    return {
        "pending": counts.pending,
        "due": counts.due,
        "running": counts.running,
        "completed": counts.completed,
        "failed": counts.failed,
        "oldestDueAt": None if counts.oldest_due_at is None else format_instant(counts.oldest_due_at),
        "estimated": sorted(counts.estimated),
    }


def _members(shards: Iterable[Shard], members: Iterable[Member]) -> list[dict[str, object]]:
    owned: dict[str, list[int]] = {}
    for shard in shards:
        if shard.owner is not None:
            owned.setdefault(shard.owner, []).append(shard.shard)
    return [
        {
            "name": member.name,
            "state": "Draining" if member.draining else "Active",
            "shards": ranges(owned[member.incarnation]),
        }
        for member in sorted(members, key=lambda member: (member.name, member.incarnation))
        if member.incarnation in owned and not member.dead
    ]


def ranges(numbers: Iterable[int]) -> str:
    """Numbers as in `0-3,8`."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
