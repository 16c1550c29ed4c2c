"""Moving what was committed from the log into the file, beside the thread that writes."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from durable_timer.stores.sqlite.session import Session

_EVERY: Final = 0.25
"""Least seconds between two checkpoints."""

_MANY: Final = 100
"""Changes of rows that are not left waiting for the next rare checkpoint."""

_RARELY: Final = 5.0
"""Seconds between checkpoints of few changes: a service at rest writes nothing but its beats."""

_LONG: Final = 4000
"""Pages in the log from which on the writer is asked to finish a checkpoint, so that the log begins anew."""

_SECONDS: Final = 30.0
_CLOSING: Final = 10.0


class Checkpointer:
    """A thread that checkpoints soon after commits, holding up neither writer nor readers.

    SQLite would do so inside of a commit, whose caller then waits for thousands of pages to be on the disk. While
    writes go on there is always a page too late for a checkpoint, and the log would grow for ever: `finish` asks the
    writer to take the few last ones along between two transactions.
    """

    def __init__(self, path: Path, finish: Callable[[], None]) -> None:
        self._session = Session(path, seconds=_SECONDS, reader=False)
        self._finish = finish
        self._changes = 0
        self._many = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="sqlite-checkpoints", daemon=True)
        self._thread.start()

    def committed(self, changes: int) -> None:
        """Says how many rows were changed; called by the writer's thread."""
        self._changes += changes
        if self._changes >= _MANY:
            self._many.set()

    async def close(self) -> None:
        """Ends the thread; what is in the log is taken along when the last connection closes."""
        self._ended.set()
        self._many.set()
        await asyncio.to_thread(self._thread.join, _CLOSING)

    def _serve(self) -> None:
        while not self._ended.wait(_EVERY):
            self._many.wait(_RARELY)
            self._many.clear()
            if self._changes and not self._ended.is_set():
                self._changes = 0
                self._checkpoint()
        self._session.drop()

    def _checkpoint(self) -> None:
        try:
            if checkpoint(self._session) > _LONG:
                self._finish()
        except sqlite3.Error:
            self._session.drop()
            self._changes = 1


def checkpoint(session: Session) -> int:
    """Moves what may be moved now; how many pages the log has."""
    _, pages, _ = session.start().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return int(pages)
