"""A small disk for a database to fill."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path


class NotHere(Exception):
    """This machine cannot make what a fault needs; the message says what."""


@contextlib.contextmanager
def small_disk(mib: int) -> Iterator[Path]:
    """A folder on a file system of that size in memory.

    Raises:
        NotHere: this account may not mount one.
    """
    with tempfile.TemporaryDirectory(prefix="durable-timer-disk-") as folder:
        options = f"size={mib}m,mode=0755"
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True, check=False
        )
        if mounted.returncode:
            raise NotHere(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)
