"""Secrets as files, laid out as Kubernetes mounts them: a folder for each Secret, a file for each key."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Final, NamedTuple

from durable_timer.clock import Clock

FOUND_FOR: Final = 10.0
"""Seconds for which a value is answered without looking again: a changed file is in use after that."""

MISSING_FOR: Final = 2.0
"""Seconds for which a value that could not be read is not looked for again."""

SIZE_MAX: Final = 64 * 1024
"""Bytes of the longest value that is read."""

_REMEMBERED: Final = 10_000
_NAME: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,253}", re.ASCII)


class _Reading(NamedTuple):
    value: bytes | None
    until: float


class FileSecrets:
    """Reads `<folder>/<name>/<key>`, or `<folder>/<namespace>/<name>/<key>` for a Secret of a namespace.

    One line end at the end of a file is not part of the value. Without a folder there are no Secrets.
    """

    def __init__(self, folder: Path | None, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._readings: dict[tuple[str | None, str, str], _Reading] = {}

    async def read(self, namespace: str | None, name: str, key: str) -> bytes | None:
        """The value, or None when it cannot be read now. Answers from a cache; never raises."""
        now = self._clock.monotonic()
        reading = self._readings.get((namespace, name, key))
        if reading is None or reading.until <= now:
            value = await asyncio.to_thread(self._read, namespace, name, key)
            reading = _Reading(value, now + (MISSING_FOR if value is None else FOUND_FOR))
            if len(self._readings) >= _REMEMBERED:
                self._readings.clear()
            self._readings[namespace, name, key] = reading
        return reading.value

    def _read(self, namespace: str | None, name: str, key: str) -> bytes | None:
        steps = [name, key] if namespace is None else [namespace, name, key]
        if self._folder is None or not all(_NAME.fullmatch(step) for step in steps):
            return None
        try:
            with self._folder.joinpath(*steps).open("rb") as file:
                value = file.read(SIZE_MAX + 1)
        except OSError:
            return None
        return without_line_end(value) if len(value) <= SIZE_MAX else None


def without_line_end(value: bytes) -> bytes:
    """The value without one line end at its end, which is no part of it."""
    return value.removesuffix(b"\n").removesuffix(b"\r")
