"""What a request carries besides its path: its body, its query, its conditions. Each rule broken is a `Problem`."""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Collection
from enum import StrEnum
from typing import Final, TypeVar

from aiohttp import web

from durable_timer.models.results import Version
from durable_timer_api import json_fast
from durable_timer_api.json_text import Cursor, JsonError, JsonLimitError, JsonObject
from durable_timer_api.problems import Code, Problem, Wrong, invalid, pointer

E = TypeVar("E", bound=StrEnum)

_JSON: Final = "application/json"
_ETAG: Final = re.compile(r'"([0-9a-f]{16})\.([1-9][0-9]{0,18})"', re.ASCII)
_ANY_ETAG: Final = re.compile(r'(?:W/)?"[!#-~]*"', re.ASCII)
_TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
_SIGN: Final = 1 << 63
_NO_VERSION: Final = Version(0, 0)
_GUNZIPPED_HERE_MAX: Final = 4096
"""Bytes of gzip that the event loop unpacks itself; what is longer may unpack to a thousand times as much."""

_GZIP_WINDOW: Final = 31
"""zlib's number for the gzip format with the largest window."""


async def json_bytes(request: web.Request, limit: int) -> bytes:
    """The body, gunzipped where it came so.

    Raises:
        Problem: UNSUPPORTED_MEDIA_TYPE; BODY_TOO_LARGE, as received or gunzipped; INVALID_JSON for broken gzip.
    """
    headers = request.headers
    content_type = headers.get("Content-Type", _JSON)
    if content_type != _JSON and content_type.partition(";")[0].strip().lower() != _JSON:
        raise Problem(Code.UNSUPPORTED_MEDIA_TYPE, f"send {_JSON}, not {content_type[:100]}")
    body = await _received(request, limit)
    encoding = headers.get("Content-Encoding")
    if encoding is None or encoding.lower() == "identity":
        return body
    if encoding.lower() != "gzip":
        raise Problem(Code.UNSUPPORTED_MEDIA_TYPE, f"send gzip or no encoding, not {encoding[:100]}")
    if len(body) <= _GUNZIPPED_HERE_MAX:
        return _gunzipped(body, limit)
    return await asyncio.to_thread(_gunzipped, body, limit)


async def _received(request: web.Request, limit: int) -> bytes:
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    content = request.content
    if content.is_eof() and content.total_bytes <= limit:
        return content.read_nowait()
    pieces = []
    size = 0
    while piece := await content.readany():
        size += len(piece)
        if size > limit:
            raise _too_large(limit)
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _gunzipped(body: bytes, limit: int) -> bytes:
    unzip = zlib.decompressobj(_GZIP_WINDOW)
    try:
        plain = unzip.decompress(body, limit + 1)
    except zlib.error as error:
        raise Problem(Code.INVALID_JSON, f"the body is not gzip: {error}") from None
    if len(plain) > limit:
        raise _too_large(limit)
    if not unzip.eof or unzip.unused_data:
        raise Problem(Code.INVALID_JSON, "the body is not one whole gzip stream")
    return plain


def _too_large(limit: int) -> Problem:
    return Problem(Code.BODY_TOO_LARGE, f"the body may have {limit} bytes", headers={"Connection": "close"})


async def json_object(request: web.Request, limit: int, *lifted: str) -> JsonObject:
    """The body as a JSON object, keeping the texts of the members named in `lifted`.

    Raises:
        Problem: As `json_bytes`, INVALID_JSON, and INVALID_INPUT for JSON that is no object.
    """
    body = await json_bytes(request, limit)
    found = json_fast.read_object(body, lifted)
    if found is not None:
        return found
    try:
        cursor = object_cursor(body)
        document = cursor.object(lifted)
        cursor.end()
    except JsonError as error:
        raise invalid_json(error) from None
    return document


def object_cursor(body: bytes) -> Cursor:
    """A cursor at an object.

    Raises:
        JsonError: It is not JSON.
        Problem: INVALID_INPUT for JSON that is no object.
    """
    cursor = Cursor(body)
    if not cursor.is_at("{"):
        cursor.value()
        cursor.end()
        raise invalid([Wrong("must be an object", pointer="")])
    return cursor


def invalid_json(error: JsonError) -> Problem:
    """The problem that a JSON error is."""
    if isinstance(error, JsonLimitError):
        return invalid([Wrong(error.rule, pointer=pointer(*error.steps))])
    return Problem(Code.INVALID_JSON, str(error))


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
