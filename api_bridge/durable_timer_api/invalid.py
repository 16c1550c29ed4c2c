"""From pydantic's errors to the contract's: a pointer and a rule for each wrong value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from durable_timer_api.problems import Wrong, pointer
from durable_timer_api.schemas import Body

B = TypeVar("B", bound=Body)

MEMBERS_MAX: Final = 100
"""Members of one object of a request, beyond which their errors are not listed one by one; a payload may have more."""

_RULES: Final = {
    "bool_type": "must be true or false",
    "dict_type": "must be an object",
    "extra_forbidden": "is not a known field",
    "float_type": "must be a number",
    "int_type": "must be a whole number",
    "list_type": "must be an array",
    "missing": "is required",
    "model_type": "must be an object",
    "string_type": "must be a string",
}


def read_body(model: type[B], members: Mapping[str, object], *at: str | int) -> tuple[B | None, list[Wrong]]:
    """The members as a body, or all that is wrong with them; `at` are the steps to them from the document's root."""
    try:
        body: B = model.__pydantic_validator__.validate_python(members)
    except ValidationError as error:
        if error.error_count() > MEMBERS_MAX and (crowded := _crowded(members, at)):
            return None, crowded
        return None, [_wrong(found, at) for found in error.errors(include_url=False, include_context=True)]
    else:
        return body, []


def _crowded(members: Mapping[str, object], at: tuple[str | int, ...]) -> list[Wrong]:
    if len(members) > MEMBERS_MAX:
        return [Wrong(f"must have at most {MEMBERS_MAX} members, has {len(members)}", pointer=pointer(*at))]
    return [
        wrong
        for name, value in members.items()
        if isinstance(value, dict) and name != "payload"
        for wrong in _crowded(value, (*at, name))
    ]


def _wrong(found: ErrorDetails, at: tuple[str | int, ...]) -> Wrong:
    steps = [step for step in found["loc"] if step != "[key]"]
    return Wrong(_rule(found), pointer=pointer(*at, *steps))


def _rule(found: ErrorDetails) -> str:
    context = found.get("ctx", {})
    match found["type"]:
        case "value_error":
            return str(context["error"])
        case "greater_than_equal":
            return f"must be at least {context['ge']}"
        case "less_than_equal":
            return f"must be at most {context['le']}"
        case "too_long":
            return f"must have at most {context['max_length']} items, has {context['actual_length']}"
        case "too_short":
            return f"must have at least {context['min_length']} items, has {context['actual_length']}"
        case "enum":
            return f"must be {context['expected']}"
        case known:
            return _RULES.get(known, found["msg"].replace("Input should", "must", 1))
