"""Requests that are repeated until an answer tells what happened, at one bridge and then at another."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import orjson

GIVE_UP: Final = 60.0
"""Seconds after which a request that nobody answers is left alone."""

PAUSE: Final = 0.5
PATIENCE: Final = 12.0
"""Seconds that one try may take: more than a bridge lets a request take."""

BY_A_BRIDGE: Final = "X-Request-Id"
"""A header of each of its answers. Something else may answer at an address that no bridge has any more."""

SERVER_ERRORS: Final = 500
TOO_MANY: Final = 429


@dataclass(frozen=True, slots=True)
class Answer:
    """What a bridge said at last. `doubtful` when an earlier try may have been carried out, unseen."""

    status: int
    body: Any
    doubtful: bool


class Rest:
    """Bridges that serve the same groups; requests go to each in turn."""

    def __init__(self, bridges: Sequence[str], group: str, session: aiohttp.ClientSession) -> None:
        self._bases = [f"{bridge}/api/v1/groups/{group}/timers" for bridge in bridges]
        self._session = session
        self._sent = 0
        self.unanswered: Counter[str] = Counter()
        """Why requests had to be repeated: statuses and errors."""

    async def ask(
        self, method: str, path: str, body: object = None, query: Mapping[str, str] | None = None
    ) -> Answer | None:
        """The first answer that is neither 429 nor 5xx; None when none came in time."""
        deadline = asyncio.get_running_loop().time() + GIVE_UP
        data = None if body is None else orjson.dumps(body)
        doubtful = False
        while asyncio.get_running_loop().time() < deadline:
            found = await self._try(method, path, data, query)
            if not isinstance(found, str):
                return Answer(*found, doubtful)
            self.unanswered[found] += 1
            doubtful = True
            await asyncio.sleep(PAUSE)
        return None

    async def _try(
        self, method: str, path: str, data: bytes | None, query: Mapping[str, str] | None
    ) -> tuple[int, Any] | str:
        """What a bridge answered, or why that is to be asked again."""
        self._sent += 1
        url = self._bases[self._sent % len(self._bases)] + path
        headers = {} if data is None else {"content-type": "application/json"}
        try:
            async with self._session.request(method, url, data=data, params=query, headers=headers) as answer:
                content = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            return type(error).__name__
        if BY_A_BRIDGE not in answer.headers:
            return "not by a bridge"
        if answer.status >= SERVER_ERRORS or answer.status == TOO_MANY:
            return str(answer.status)
        return answer.status, orjson.loads(content) if content else None


def session() -> aiohttp.ClientSession:
    """A session for one `Rest`; to be closed."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=PATIENCE, connect=1.0)
    )
