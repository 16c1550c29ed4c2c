"""How a command ends."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """A process's exit code."""

    OK = 0
    FAULT = 1
    """A fault of the program, logged with its traceback."""
    USAGE = 2
    """A flag, a setting or a manifest that cannot be used."""
    STORE = 3
    """The store cannot be used: not reachable, held by another process, or of another schema."""
    REFUSED = 4
    """The store refuses what was asked of a group."""
    LEASE = 5
    """An operator that led does not any more: it is to be started again."""
    INTERRUPTED = 130
