"""One process a file: an advisory lock on `<file>.lock`, which ends with the process however it ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from durable_timer.errors import StoreInUse, StoreUnavailable

_MODE: Final = 0o640


class FileLock:
    """Holds `<path>.lock`, symbolic links followed, from its making until `release`.

    The lock file itself stays, with the last holder's process id.

    Raises:
        StoreInUse: another store, in this process or another, holds it; the message names the file and the holder.
        StoreUnavailable: the lock file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        file = path.resolve()
        lock = file.with_name(file.name + ".lock")
        try:
            self._file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
        except OSError as error:
            raise StoreUnavailable(f"cannot open {lock}: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._file, 20, 0).decode("ascii", "replace").strip()
            os.close(self._file)
            by = f"process {holder}" if holder.isdigit() else "another process"
            raise StoreInUse(f"{path} is in use by {by} ({lock} is locked): one process at a time owns it") from error
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode("ascii"), 0)

    def release(self) -> None:
        os.close(self._file)
