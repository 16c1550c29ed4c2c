"""The status page: its files, and the JSON that it refreshes itself from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from typing import Final

import orjson
from aiohttp import web

from durable_timer.models import limits
from durable_timer_api.answers import JSON
from durable_timer_api.problems import Wrong, invalid
from durable_timer_api.requests import choice, query
from durable_timer_api.ui.status import Look, Status

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Nothing is loaded or sent but from and to this bridge, nothing in the page is run, nobody frames it."""

FILES: Final = {
    "page.html": "text/html; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "view.js": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
}
"""What the page is made of, with its content types."""

_PARAMETERS: Final = frozenset({"search", "show", "page", "group"})
_SEARCH_MAX: Final = 253
_PAGE_MAX: Final = 1_000_000


class Show(StrEnum):
    """Which groups are listed."""

    ALL = "all"
    ATTENTION = "attention"


class Ui:
    """Serves the page."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def file(self, name: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        """The handler of one of `FILES`."""

        async def handler(request: web.Request) -> web.Response:
            return _tagged(request, _content(name), FILES[name])

        return handler

    async def status(self, request: web.Request) -> web.Response:
        """The operation uiStatus."""
        found = query(request, _PARAMETERS)
        look = Look(
            _text(found, "search", _SEARCH_MAX).lower(),
            choice(found, "show", Show, Show.ALL) is Show.ATTENTION,
            _page(found),
            _text(found, "group", limits.GROUP_ID_MAX),
        )
        return _tagged(request, orjson.dumps(await self._status.look(look)), JSON)


@cache
def _content(name: str) -> bytes:
    return (files("durable_timer_api") / "ui" / "static" / name).read_bytes()


def _tagged(request: web.Request, body: bytes, content_type: str) -> web.Response:
    """The body under its entity tag, or 304 to whoever has it already."""
    etag = f'"{blake2b(body, digest_size=12).hexdigest()}"'
    headers = {**HEADERS, "Cache-Control": "no-cache", "ETag": etag}
    if etag in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, headers={**headers, "Content-Type": content_type})


def _text(found: dict[str, list[str]], name: str, longest: int) -> str:
    text = found[name][0] if name in found else ""
    if len(text) > longest:
        raise invalid([Wrong(f"must be at most {longest} characters", parameter=name)])
    return text


def _page(found: dict[str, list[str]]) -> int:
    text = found["page"][0] if "page" in found else "1"
    if text.isascii() and text.isdigit() and len(text) <= len(str(_PAGE_MAX)) and 1 <= int(text) <= _PAGE_MAX:
        return int(text)
    raise invalid([Wrong(f"must be a whole number from 1 to {_PAGE_MAX}", parameter="page")])
