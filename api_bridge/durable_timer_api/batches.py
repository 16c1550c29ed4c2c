"""The body of a batch: its items are read one by one, and others have their turn in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from durable_timer.models import limits
from durable_timer.models.timer import NewTimer
from durable_timer_api.bodies import Bodies, invalid_json, no_object
from durable_timer_api.invalid import MEMBERS_MAX
from durable_timer_api.json_limits import JsonError
from durable_timer_api.json_text import Cursor
from durable_timer_api.problems import Wrong, invalid, pointer
from durable_timer_api.reading import Surroundings, new_timer

T = TypeVar("T")

LIFTED: Final = ("payload",)
"""The members of a timer whose texts are kept."""

_STEPS_BETWEEN_PAUSES: Final = 32
_CHARACTERS_BETWEEN_PAUSES: Final = 64 * 1024

Item = NewTimer | list[Wrong]
"""An item as read, or all that is wrong with it."""


class Turns:
    """Counts what is done at one go, and lets other requests, and the engine, have their turn when it is enough."""

    def __init__(self) -> None:
        self._steps = 0
        self._characters = 0

    async def after(self, characters: int) -> None:
        """To be called after each step, with about how much text it was."""
        self._steps += 1
        self._characters += characters
        if self._steps >= _STEPS_BETWEEN_PAUSES or self._characters >= _CHARACTERS_BETWEEN_PAUSES:
            self._steps = self._characters = 0
            await asyncio.sleep(0)


async def read_batch(cursor: Cursor, bodies: Bodies, where: Surroundings) -> list[Item]:
    """The items of `{"timers": […]}`, at which the cursor stands.

    Raises:
        Problem: INVALID_JSON; INVALID_INPUT, where something is wrong besides single items.
    """
    try:
        if not cursor.is_at("{"):
            await bodies.part(cursor, Cursor.value)
            cursor.end()
            raise no_object()
        return await _Batch(cursor, bodies, where).read()
    except JsonError as error:
        raise invalid_json(error) from None


class _Batch:
    def __init__(self, cursor: Cursor, bodies: Bodies, where: Surroundings) -> None:
        self._cursor = cursor
        self._bodies = bodies
        self._where = where
        self._turns = Turns()
        self._errors: list[Wrong] = []

    async def read(self) -> list[Item]:
        cursor = self._cursor
        items: list[Item] | None = None
        for name in cursor.names():
            if name == "timers" and cursor.is_at("["):
                items = await self._items()
                continue
            await self._part(Cursor.value, name)
            rule = "must be an array" if name == "timers" else "is not a known field"
            self._errors.append(Wrong(rule, pointer=pointer(name)))
            if len(self._errors) > MEMBERS_MAX:
                raise invalid(self._errors)
        cursor.end()
        if items is None and not any(wrong.pointer == "/timers" for wrong in self._errors):
            self._errors.append(Wrong("is required", pointer="/timers"))
        if items is not None and not items:
            self._errors.append(Wrong(f"must have 1 to {limits.ITEMS_MAX} items, has 0", pointer="/timers"))
        if self._errors or items is None:
            raise invalid(self._errors)
        return items

    async def _items(self) -> list[Item]:
        items: list[Item] = []
        for _ in self._cursor.items():
            if len(items) == limits.ITEMS_MAX:
                rule = f"must have 1 to {limits.ITEMS_MAX} items, has more"
                raise invalid([*self._errors, Wrong(rule, pointer="/timers")])
            items.append(await self._item(len(items)))
        return items

    async def _item(self, place: int) -> Item:
        def read(cursor: Cursor) -> Item:
            return new_timer(cursor.object(LIFTED, "timers", place), self._where, "timers", place)

        if self._cursor.is_at("{"):
            return await self._part(read, "timers", place)
        await self._part(lambda cursor: cursor.value("timers", place), "timers", place)
        return [Wrong("must be an object", pointer=pointer("timers", place))]

    async def _part(self, read: Callable[[Cursor], T], *steps: str | int) -> T:
        begin = self._cursor.at
        made = await self._bodies.part(self._cursor, read, *steps)
        await self._turns.after(self._cursor.at - begin)
        return made
