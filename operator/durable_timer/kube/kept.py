"""Secrets kept in a folder that outlives a process: a file for each, of mode 0600, replaced as a whole."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path

Values = Mapping[str, bytes]
"""A Secret's values by their keys."""


class KeptSecrets:
    """`<folder>/<namespace>/<name>`. All methods block; names are checked by the caller, and never begin with a dot."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, namespace: str, name: str) -> Values | None:
        """What was kept last; None when there is nothing that can be read."""
        try:
            kept = json.loads((self._folder / namespace / name).read_bytes())
            return {key: b64decode(text, validate=True) for key, text in kept.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return None

    def keep(self, namespace: str, name: str, values: Values) -> None:
        """Replaces what was kept, at once or not at all. Raises: OSError."""
        folder = self._folder / namespace
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = folder / f".{secrets.token_hex(8)}"
        try:
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                json.dump({key: b64encode(value).decode() for key, value in values.items()}, file)
            new.replace(folder / name)
        except OSError:
            with contextlib.suppress(OSError):
                new.unlink()
            raise

    def forget(self, namespace: str, name: str) -> None:
        """Removes what was kept. Raises: OSError."""
        (self._folder / namespace / name).unlink(missing_ok=True)
