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
"""Seconds from a commit to the checkpoint that takes it along."""

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
        self._written = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="sqlite-checkpoints", daemon=True)
        self._thread.start()

    def committed(self) -> None:
        """Says that there is something in the log."""
        self._written.set()

    async def close(self) -> None:
        """Ends the thread; what is in the log is taken along when the last connection closes."""
        self._ended.set()
        self._written.set()
        await asyncio.to_thread(self._thread.join, _CLOSING)

    def _serve(self) -> None:
        while self._written.wait() and not self._ended.wait(_EVERY):
            self._written.clear()
            try:
                if checkpoint(self._session) > _LONG:
                    self._finish()
            except sqlite3.Error:
                self._session.drop()
                self._written.set()
        self._session.drop()


def checkpoint(session: Session) -> int:
    """Moves what may be moved now; how many pages the log has."""
    _, pages, _ = session.start().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return int(pages)
