"""The body of a batch: its items are read one by one, and others have their turn in between.

Where the body can be taken apart at once, each item is read from its own text; else, and where something is wrong with
the JSON of one, all is read from the beginning, for the error to say where.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from msgspec import Raw

from durable_timer.models import limits
from durable_timer.models.timer import NewTimer
from durable_timer_api import json_fast
from durable_timer_api.bodies import Bodies, invalid_json, no_object
from durable_timer_api.invalid import MEMBERS_MAX
from durable_timer_api.json_limits import JsonError
from durable_timer_api.json_text import Cursor, cursor_of
from durable_timer_api.plain import plain_items, plain_timer
from durable_timer_api.problems import Wrong, invalid, pointer
from durable_timer_api.reading import Surroundings, new_timer

T = TypeVar("T")

LIFTED: Final = ("payload",)
"""The members of a timer whose texts are kept."""

_STEPS_BETWEEN_PAUSES: Final = 64
_CHARACTERS_BETWEEN_PAUSES: Final = 64 * 1024

Item = NewTimer | list[Wrong]
"""An item as read, or all that is wrong with it."""


class Turns:
    """Counts what is done at one go: when it is enough, other requests, and the engine, are to have their turn."""

    def __init__(self) -> None:
        self._steps = 0
        self._characters = 0

    def is_over(self, characters: int) -> bool:
        """To be asked after each step, with about how much text it was."""
        self._steps += 1
        self._characters += characters
        if self._steps < _STEPS_BETWEEN_PAUSES and self._characters < _CHARACTERS_BETWEEN_PAUSES:
            return False
        self._steps = self._characters = 0
        return True


async def read_batch(body: bytes, bodies: Bodies, where: Surroundings) -> list[Item]:
    """The items of `{"timers": […]}`.

    Raises:
        Problem: INVALID_JSON; INVALID_INPUT, where something is wrong besides single items.
    """
    texts = plain_items(body)
    items = None if texts is None else await _read_apart(texts, bodies, where)
    if items is not None:
        return items
    try:
        cursor = cursor_of(body)
        del body  # its text is enough
        if not cursor.is_at("{"):
            await bodies.part(cursor, Cursor.value)
            cursor.end()
            raise no_object()
        return await _Batch(cursor, bodies, where).read()
    except JsonError as error:
        raise invalid_json(error) from None


async def _read_apart(texts: list[Raw], bodies: Bodies, where: Surroundings) -> list[Item] | None:
    """The items of these texts; None when one is not the JSON it should be."""
    items: list[Item] = []
    turns = Turns()
    for place, text in enumerate(texts):
        item: Item | None = plain_timer(text, where)
        if item is None:
            try:
                item = await _read_item(bytes(text), place, bodies, where)
            except JsonError:
                return None
        items.append(item)
        if turns.is_over(len(text)):
            await asyncio.sleep(0)
    return items


async def _read_item(text: bytes, place: int, bodies: Bodies, where: Surroundings) -> Item:
    """Raises: JsonError, with places in the item instead of the body."""
    found = json_fast.read_object(text, LIFTED)
    if found is not None:
        return new_timer(found, where, "timers", place)
    cursor = cursor_of(text)
    item = await bodies.part(cursor, partial(_item_at, place=place, where=where), "timers", place)
    cursor.end()
    return item


def _item_at(cursor: Cursor, *, place: int, where: Surroundings) -> Item:
    """The item at which the cursor stands."""
    if cursor.is_at("{"):
        return new_timer(cursor.object(LIFTED, "timers", place), where, "timers", place)
    cursor.value("timers", place)
    return [Wrong("must be an object", pointer=pointer("timers", place))]


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
            place = len(items)
            items.append(await self._part(partial(_item_at, place=place, where=self._where), "timers", place))
        return items

    async def _part(self, read: Callable[[Cursor], T], *steps: str | int) -> T:
        begin = self._cursor.at
        made = await self._bodies.part(self._cursor, read, *steps)
        if self._turns.is_over(self._cursor.at - begin):
            await asyncio.sleep(0)
        return made
