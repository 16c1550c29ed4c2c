"""What JSON may be refused for, and the limits of depth and integers that a parser does not know."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from durable_timer.models.limits import JSON_DEPTH_MAX, JSON_INTEGER_MAX, JSON_INTEGER_MIN

_long_integer: Final = re.compile(r"(?<![0-9])[0-9]{19}").search
_LOOKED_INTO_ANYWAY: Final = 64 * 1024
"""Characters; asking first whether it is needed is not worth it for a longer value."""


class JsonError(ValueError):
    """The text is not the JSON it should be; the message says why."""


class JsonLimitError(JsonError):
    """A value is beyond a limit; `steps` lead to it from where the reading began."""

    def __init__(self, rule: str, steps: tuple[str | int, ...]) -> None:
        super().__init__(rule)
        self.rule = rule
        self.steps = steps


class JsonCutError(JsonError):
    """The value goes on beyond the piece of text that was read."""


def may_be_beyond(text: str, begin: int, end: int) -> bool:
    """Whether the array or object that stands there may break a limit."""
    return (
        end - begin > _LOOKED_INTO_ANYWAY
        or text.count("[", begin, end) + text.count("{", begin, end) > JSON_DEPTH_MAX
        or _long_integer(text, begin, end) is not None
    )


def require_within(value: object, steps: tuple[str | int, ...]) -> None:
    """Looks at a value level by level, since there may be a million in it; a path is made for what is wrong alone.

    Raises:
        JsonLimitError: It is nested too deep, or has an integer of more than 64 bits.
    """
    level: list[Any] = [[value]]
    beyond = False
    for _ in range(JSON_DEPTH_MAX + 1):
        below = []
        for container in level:
            for child in container.values() if type(container) is dict else container:
                kind = type(child)
                if kind is dict or kind is list:
                    below.append(child)
                elif kind is int and not JSON_INTEGER_MIN <= child <= JSON_INTEGER_MAX:
                    beyond = True
        if not below:
            break
        level = below
    else:
        raise JsonLimitError(f"must be nested at most {JSON_DEPTH_MAX} levels deep", steps)
    if beyond:
        raise JsonLimitError("must be a number of at most 64 bits", (*steps, *(_way_to_beyond(value) or ())))


def _way_to_beyond(value: object) -> tuple[str | int, ...] | None:
    children: Iterable[tuple[str | int, object]]
    if isinstance(value, dict):
        children = value.items()
    elif isinstance(value, list):
        children = enumerate(value)
    else:
        return () if type(value) is int and not JSON_INTEGER_MIN <= value <= JSON_INTEGER_MAX else None
    for step, child in children:
        way = _way_to_beyond(child)
        if way is not None:
            return (step, *way)
    return None
