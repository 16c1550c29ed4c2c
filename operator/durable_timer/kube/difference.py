"""What has to be sent so that one JSON object becomes another, as a merge patch (RFC 7396)."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue


def difference(present: Mapping[str, JsonValue], wanted: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The patch from `present` to `wanted`: objects key by key, lists whole; empty when they are the same.

    A null in `wanted`, in its lists too, means that the key is absent: the API server keeps no nulls.
    """
    return _object_difference(present, _without_nulls(wanted))


def _object_difference(present: Mapping[str, JsonValue], wanted: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    patch: dict[str, JsonValue] = dict.fromkeys(present.keys() - wanted.keys())
    for key, value in wanted.items():
        there = present.get(key)
        if isinstance(value, dict) and isinstance(there, dict):
            if inner := _object_difference(there, value):
                patch[key] = inner
        elif key not in present or there != value:
            patch[key] = value
    return patch


def _without_nulls(item: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    return {key: _cleaned(value) for key, value in item.items() if value is not None}


def _cleaned(value: JsonValue) -> JsonValue:
    match value:
        case dict():
            return _without_nulls(value)
        case list():
            return [_cleaned(item) for item in value]
        case _:
            return value
