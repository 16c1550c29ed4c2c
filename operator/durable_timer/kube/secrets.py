"""Secrets from the Kubernetes API: `get` alone, whole Secrets kept for all who name one, good without the API too.

A value that was read once stays good until the API says that it changed or that the Secret is gone: an API server that is
away, or forbids, changes nothing. With a folder that outlives the process, that holds for the next process too.
"""

from __future__ import annotations

import asyncio
import binascii
import re
from base64 import b64decode
from collections import OrderedDict
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from durable_timer.clock import Clock
from durable_timer.errors import KubeError
from durable_timer.kube.client import SECRET, Body, KubeClient
from durable_timer.kube.kept import KeptSecrets, Values
from durable_timer.secrets import SIZE_MAX, without_line_end

FRESH_FOR: Final = 60.0
"""Seconds for which a Secret that was read is not asked for again: a changed one is in use after that."""

AGAIN_AFTER: Final = 3.0
"""Seconds after which a Secret is asked for again that is not there, or that the API did not answer for."""

ANSWER_WITHIN: Final = 5.0
"""Seconds that the API has for an answer."""

WAIT: Final = 0.5
"""Longest that a reader waits for an answer under way; it has what there is after that."""

AT_ONCE: Final = 4
"""Requests under way at once."""

REMEMBERED: Final = 10_000
"""Secrets in memory; beyond that, the one that was not read for longest is forgotten."""

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", re.ASCII)

log = structlog.get_logger(__name__)

Place = tuple[str, str]
"""Namespace and name."""


@dataclass(slots=True)
class _Entry:
    values: Values | None = None
    ask_at: float = float("-inf")
    asking: asyncio.Task[None] | None = None
    loaded: bool = False
    slow: bool = False
    """The last answer did not come within WAIT, or was none: waiting for it holds up callbacks for nothing."""
    complaint: str | None = None


@asynccontextmanager
async def open_secrets(
    client: KubeClient, clock: Clock, namespaces: Collection[str], folder: Path | None
) -> AsyncIterator[KubeSecrets]:
    """The Secrets of these namespaces, kept in `folder` too where there is one. What is under way ends with the block."""
    async with asyncio.TaskGroup() as tasks:
        opened = KubeSecrets(client, clock, namespaces, KeptSecrets(folder) if folder is not None else None, tasks)
        try:
            yield opened
        finally:
            opened.close()


class KubeSecrets:
    """Reads Secrets; its requests run in `tasks`."""

    def __init__(
        self,
        client: KubeClient,
        clock: Clock,
        namespaces: Collection[str],
        kept: KeptSecrets | None,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._client = client
        self._clock = clock
        self._namespaces = frozenset(namespaces)
        self._kept = kept
        self._tasks = tasks
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._entries: OrderedDict[Place, _Entry] = OrderedDict()
        self._refused: set[str | None] = set()

    async def read(self, namespace: str | None, name: str, key: str) -> bytes | None:
        """The value, or None when it cannot be read now. Answers from a cache; never raises, and waits for WAIT at most."""
        if namespace is None or namespace not in self._namespaces:
            self._refuse(namespace)
            return None
        if _NAME.fullmatch(name) is None:
            return None
        entry = self._entry((namespace, name))
        if entry.asking is None and self._clock.monotonic() >= entry.ask_at:
            entry.asking = self._tasks.create_task(self._ask((namespace, name), entry))
        if entry.asking is not None and not entry.slow:
            _, unfinished = await asyncio.wait([entry.asking], timeout=WAIT)
            entry.slow = entry.slow or bool(unfinished)
        return (entry.values or {}).get(key)

    def close(self) -> None:
        """Gives up what is under way."""
        for entry in self._entries.values():
            if entry.asking is not None:
                entry.asking.cancel()

    def _entry(self, place: Place) -> _Entry:
        entry = self._entries.get(place)
        if entry is None:
            entry = self._entries[place] = _Entry()
            self._forget_beyond(REMEMBERED)
        self._entries.move_to_end(place)
        return entry

    def _forget_beyond(self, count: int) -> None:
        while len(self._entries) > count:
            _, forgotten = self._entries.popitem(last=False)
            if forgotten.asking is not None:
                forgotten.asking.cancel()

    def _refuse(self, namespace: str | None) -> None:
        if namespace in self._refused or len(self._refused) >= REMEMBERED:
            return
        self._refused.add(namespace)
        log.warning(
            "a Secret is named in a namespace whose Secrets this process may not read (kubernetes.secret_namespaces)",
            namespace=namespace,
        )

    async def _ask(self, place: Place, entry: _Entry) -> None:
        try:
            if not entry.loaded and self._kept is not None:
                entry.values = await asyncio.to_thread(self._kept.load, *place)
                entry.loaded = True
            async with self._turns:
                body = await self._client.get(SECRET, *place, timeout=ANSWER_WITHIN)
        except KubeError as error:
            entry.slow = True
            self._complain(place, entry, str(error), kept=entry.values is not None)
            entry.ask_at = self._clock.monotonic() + AGAIN_AFTER
        else:
            entry.slow = False
            self._complain(place, entry, "it is not there" if body is None else None)
            entry.ask_at = self._clock.monotonic() + (AGAIN_AFTER if body is None else FRESH_FOR)
            await self._become(place, entry, None if body is None else _values(body))
        finally:
            entry.asking = None

    async def _become(self, place: Place, entry: _Entry, values: Values | None) -> None:
        changed, entry.values = values != entry.values, values
        if not changed or self._kept is None:
            return
        try:
            if values is None:
                await asyncio.to_thread(self._kept.forget, *place)
            else:
                await asyncio.to_thread(self._kept.keep, *place, values)
        except OSError as error:
            log.warning("a Secret cannot be kept for the next process", secret="/".join(place), error=str(error))

    def _complain(self, place: Place, entry: _Entry, why: str | None, *, kept: bool = False) -> None:
        """One line when a Secret begins to fail, and one when it no longer does."""
        before, entry.complaint = entry.complaint, why
        if why is not None and before is None:
            log.warning("a Secret cannot be read", secret="/".join(place), error=why, still_used=kept)
        elif why is None and before is not None:
            log.info("a Secret can be read again", secret="/".join(place))


def _values(secret: Body) -> Values:
    """What can be used: a value that is too long, or no base64, is left out. One line end is not part of a value."""
    values: dict[str, bytes] = {}
    for key, text in (secret.get("data") or {}).items():
        try:
            value = b64decode(text, validate=True)
        except (binascii.Error, TypeError):
            continue
        if len(value) <= SIZE_MAX:
            values[key] = without_line_end(value)
    return values
