"""A connection to the file: its settings, the limit on a statement's time, and what a driver's error means."""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from durable_timer.errors import StoreFull, StoreUnavailable

_STATEMENTS: Final = 256
"""Prepared statements kept by a connection."""

_STEPS: Final = 50_000
"""Steps of SQLite's machine between two looks at the clock: about a millisecond."""

_LITTLE_ROOM: Final = 1 << 20
"""An input or output error with less room than this (bytes) is one for want of room."""

_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_PRIMARY: Final = 0xFF

_SETTINGS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA busy_timeout = 2000",
    "PRAGMA wal_autocheckpoint = 0",
    "PRAGMA journal_size_limit = 67108864",
    "PRAGMA secure_delete = FAST",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -65536",
)
"""FULL: a commit is on the disk when it is answered, and outlives a power cut. On an SSD a lone create then takes 0.25 ms
instead of 0.06 with NORMAL, bulk and takes hardly more. Checkpoints have a thread of their own. The cache is in KiB."""

_READER_SETTINGS: Final = (
    "PRAGMA query_only = ON",
    "PRAGMA busy_timeout = 2000",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -8192",
)


class Session:
    """One connection, for one thread at a time; opened when first used, and anew after `drop`.

    `given_up` is asked now and then while a statement runs; when it says so, or `seconds` have passed since `start`,
    the statement ends with an error.
    """

    def __init__(self, path: Path, *, seconds: float, reader: bool) -> None:
        self._path = path
        self._seconds = seconds
        self._reader = reader
        self._connection: sqlite3.Connection | None = None
        self._deadline = 0.0
        self._given_up: Callable[[], bool] = _never

    def start(self, given_up: Callable[[], bool] | None = None) -> sqlite3.Connection:
        """The connection, with the time of what runs next counted from now."""
        self._deadline = time.monotonic() + self._seconds
        self._given_up = given_up or _never
        if self._connection is None:
            self._connection = self._open()
        return self._connection

    def drop(self) -> None:
        """Closes the connection, whatever it was doing; what was not committed is undone."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, cached_statements=_STATEMENTS
        )
        try:
            for setting in _READER_SETTINGS if self._reader else _SETTINGS:
                connection.execute(setting).fetchall()
        except BaseException:
            connection.close()
            raise
        connection.set_progress_handler(self._overdue, _STEPS)
        return connection

    def _overdue(self) -> int:
        return time.monotonic() > self._deadline or self._given_up()


def meaning(path: Path, error: BaseException | None) -> Exception:
    """The store's error for what the driver raised; anything else is a mistake in this store and stays as it is."""
    if isinstance(error, Exception) and not isinstance(error, sqlite3.Error):
        return error
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and _little_room(path)):
        return StoreFull(f"no room to write to {path}")
    if code == sqlite3.SQLITE_INTERRUPT:
        return StoreUnavailable("a statement took longer than it may")
    if code in _DAMAGED:
        return StoreUnavailable(f"{path} is damaged or no SQLite database ({error}); restore it from a copy")
    return StoreUnavailable(f"{path}: {error}")


def _little_room(path: Path) -> bool:
    try:
        room = os.statvfs(path.parent)
    except OSError as error:
        return error.errno == errno.ENOSPC
    return room.f_bavail * room.f_frsize < _LITTLE_ROOM


def _never() -> bool:
    return False
