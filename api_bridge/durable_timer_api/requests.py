"""What a request carries besides its path and its body: its query, its conditions. Each rule broken is a `Problem`."""

from __future__ import annotations

import re
from collections.abc import Collection
from enum import StrEnum
from typing import Final, TypeVar

from aiohttp import web

from durable_timer.models.results import Version
from durable_timer_api.problems import Wrong, invalid

E = TypeVar("E", bound=StrEnum)

_ETAG: Final = re.compile(r'"([0-9a-f]{16})\.([1-9][0-9]{0,18})"', re.ASCII)
_ANY_ETAG: Final = re.compile(r'(?:W/)?"[!#-~]*"', re.ASCII)
_TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
_SIGN: Final = 1 << 63
_NO_VERSION: Final = Version(0, 0)


def query(request: web.Request, known: Collection[str], repeatable: Collection[str] = ()) -> dict[str, list[str]]:
    """The query's parameters, each with its values.

    Raises:
        Problem: INVALID_INPUT, naming every unknown or repeated one.
    """
    if not request.query_string:
        return {}
    found: dict[str, list[str]] = {}
    for name, value in request.query.items():
        found.setdefault(name, []).append(value)
    errors = [
        Wrong("is not a known parameter" if name not in known else "must stand once", parameter=name[:100])
        for name, values in found.items()
        if name not in known or (len(values) > 1 and name not in repeatable)
    ]
    if errors:
        raise invalid(errors)
    return found


def choice(found: dict[str, list[str]], name: str, options: type[E], default: E) -> E:
    """The value of a parameter that is one of a few words.

    Raises:
        Problem: INVALID_INPUT, when it is none of them.
    """
    if name not in found:
        return default
    try:
        return options(found[name][0])
    except ValueError:
        rule = " or ".join((", ".join(list(options)[:-1]), list(options)[-1]))
        raise invalid([Wrong(f"must be {rule}", parameter=name)]) from None


def if_match(request: web.Request) -> Version | None:
    """The version that `If-Match` asks for; one that no timer has, for an entity tag that is none of ours.

    Raises:
        Problem: INVALID_INPUT, when it is neither `*` nor one entity tag.
    """
    tag = request.headers.get("If-Match")
    if tag is None or tag.strip() == "*":
        return None
    match = _ETAG.fullmatch(tag.strip())
    if match is None and _ANY_ETAG.fullmatch(tag.strip()) is None:
        raise invalid([Wrong("must be * or one entity tag, as the ETag of an answer", header="If-Match")])
    if match is None or int(match[2]) >= _SIGN:
        return _NO_VERSION
    uid = int(match[1], 16)
    return Version(uid - 2 * _SIGN if uid >= _SIGN else uid, int(match[2]))


def traceparent(request: web.Request) -> str | None:
    """The request's W3C trace context, where it has a valid one."""
    found = request.headers.get("traceparent")
    return found if found is not None and _TRACEPARENT.fullmatch(found) else None
