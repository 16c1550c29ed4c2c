"""Bodies of requests: received and unpacked within their limits, read as JSON without holding up anybody else.

What is long is read on a thread of its own, one at a time, so that the event loop, which an engine may share, has to
wait for one other thread at most; and no single value is read that is longer than a whole ordinary body.
"""

from __future__ import annotations

import asyncio
import gc
import zlib
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, TypeVar

from aiohttp import web

from durable_timer.models import limits
from durable_timer_api import json_fast
from durable_timer_api.json_limits import JsonCutError, JsonError, JsonLimitError
from durable_timer_api.json_text import Cursor, JsonObject, cursor_of
from durable_timer_api.problems import Code, Problem, Wrong, invalid, pointer
from durable_timer_api.room import LEASE, SMALL, announced, is_gzip

T = TypeVar("T")

_JSON: Final = "application/json"
_READ_HERE_MAX: Final = 32 * 1024
"""Bytes or characters of JSON that the event loop reads itself at one go: a few milliseconds at worst."""

_GUNZIPPED_HERE_MAX: Final = 4096
"""Bytes of gzip that the event loop unpacks itself; what is longer may unpack to a thousand times as much."""

_GZIP_WINDOW: Final = 31
"""zlib's number for the gzip format with the largest window."""


class Bodies:
    """Reads the bodies of an application's requests; `close` it at the end."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "json")

    def close(self) -> None:
        """Ends the thread; nobody is to read any more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def read(
        self, request: web.Request, limit: int, lifted: Collection[str], make: Callable[[JsonObject], T]
    ) -> T:
        """As `document`, of the request's body.

        Raises:
            Problem: As `json_bytes` and `document`.
        """
        return await self.document(await json_bytes(request, limit), lifted, make)

    async def document(self, body: bytes, lifted: Collection[str], make: Callable[[JsonObject], T]) -> T:
        """What `make` makes of the body, a JSON object with the texts of the members named in `lifted`.

        `make` may be called on another thread.

        Raises:
            Problem: INVALID_JSON, and INVALID_INPUT for JSON that is no object.
        """
        found = json_fast.read_object(body, lifted)
        if found is not None:
            return make(found)
        if len(body) <= _READ_HERE_MAX:
            return _read(body, lifted, make)
        return await self._beside(partial(_read, body, lifted, make))

    async def part(self, cursor: Cursor, read: Callable[[Cursor], T], *steps: str | int) -> T:
        """What `read` makes of the one value that stands at the cursor, which then stands behind it.

        `read` may be called on another thread, and again after a JsonCutError.

        Raises:
            JsonLimitError: The value is longer than a whole body of one timer may be; `steps` lead to it.
        """
        near = cursor.piece(_READ_HERE_MAX)
        if near is None:
            return read(cursor)
        try:
            made = read(near)
        except JsonCutError:
            return await self._long_part(cursor, read, steps)
        cursor.go_on_after(near)
        return made

    async def _long_part(self, cursor: Cursor, read: Callable[[Cursor], T], steps: tuple[str | int, ...]) -> T:
        far = cursor.piece(limits.BODY_MAX_BYTES)
        if far is None:
            return await self._beside(partial(read, cursor))
        try:
            made = await self._beside(partial(read, far))
        except JsonCutError:
            raise JsonLimitError(f"must have at most {limits.BODY_MAX_BYTES} characters of JSON", steps) from None
        cursor.go_on_after(far)
        return made

    async def _beside(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, _uncollected, call)


def _uncollected(call: Callable[[], T]) -> T:
    """Calls without garbage collection: a million fresh values are no garbage, and each look at them stops all threads."""
    collects = gc.isenabled()
    gc.disable()
    try:
        return call()
    finally:
        if collects:
            gc.enable()


async def json_bytes(request: web.Request, limit: int) -> bytes:
    """The body, gunzipped where it came so.

    Raises:
        Problem: UNSUPPORTED_MEDIA_TYPE; BODY_TOO_LARGE, as received or gunzipped; INVALID_JSON for broken gzip;
            NOT_READY, when there is no room for it.
    """
    headers = request.headers
    content_type = headers.get("Content-Type", _JSON)
    if content_type != _JSON and content_type.partition(";")[0].strip().lower() != _JSON:
        raise Problem(Code.UNSUPPORTED_MEDIA_TYPE, f"send {_JSON}, not {content_type[:100]}")
    body = await _received(request, limit)
    encoding = headers.get("Content-Encoding")
    if encoding is None or encoding.lower() == "identity":
        return body
    if not is_gzip(request):
        raise Problem(Code.UNSUPPORTED_MEDIA_TYPE, f"send gzip or no encoding, not {encoding[:100]}")
    if len(body) <= _GUNZIPPED_HERE_MAX:
        return _gunzipped(body, limit)
    return await asyncio.to_thread(_gunzipped, body, limit)


async def _received(request: web.Request, limit: int) -> bytes:
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    content = request.content
    lease = request.get(LEASE)
    if lease is not None and (room := announced(request, limit)) is not None:
        await lease.take(room)
        lease = None
    if content.is_eof() and content.total_bytes <= (limit if lease is None else SMALL):
        return content.read_nowait()
    pieces = []
    size = 0
    while piece := await content.readany():
        size += len(piece)
        if size > limit:
            raise _too_large(limit)
        if lease is not None and size > SMALL:
            await lease.take(limit)
            lease = None
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


def _read(body: bytes, lifted: Collection[str], make: Callable[[JsonObject], T]) -> T:
    try:
        cursor = cursor_of(body)
        if not cursor.is_at("{"):
            cursor.value()
            cursor.end()
            raise no_object()
        document = cursor.object(lifted)
        cursor.end()
    except JsonError as error:
        raise invalid_json(error) from None
    return make(document)


def no_object() -> Problem:
    """A body that is JSON, but not an object."""
    return invalid([Wrong("must be an object", pointer="")])


def invalid_json(error: JsonError) -> Problem:
    """The problem that a JSON error is."""
    if isinstance(error, JsonLimitError):
        return invalid([Wrong(error.rule, pointer=pointer(*error.steps))])
    return Problem(Code.INVALID_JSON, str(error))
