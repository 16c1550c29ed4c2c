"""From a URL to a store."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from durable_timer.errors import ConfigError
from durable_timer.stores.base import Store
from durable_timer.stores.options import StoreOptions

SCHEMES: Final = ("postgresql", "sqlite")
"""What a store's URL may begin with."""


def open_store(url: str, options: StoreOptions | None = None) -> Store:
    """The store that a URL names: `postgresql://user:password@host/database` or `sqlite:///path/to/file`.

    A path after `sqlite:///` is relative to the working directory unless it begins with another `/`. Nothing is
    connected to yet (the first call does that); a SQLite file is taken for this process.

    Raises:
        StoreInUse: another process has the SQLite file.
        ConfigError: the URL cannot be used, or the driver is not installed. The message has no credentials in it.
    """
    settled = options or StoreOptions()
    scheme = url.partition(":")[0].lower()
    if scheme in ("postgresql", "postgres"):
        return _postgresql(url, settled)
    if scheme == "sqlite":
        return _sqlite(url, settled)
    known = " or ".join(f"{name}://" for name in SCHEMES)
    raise ConfigError(f"store URL {without_credentials(url)!r} must begin with {known}")


def without_credentials(url: str) -> str:
    """The URL as it may be shown: what comes before an `@` and all query values are left out."""
    hidden = re.sub(r"//.*@", "//***@", url)
    return re.sub(r"=[^&]*", "=***", hidden)


def _postgresql(url: str, options: StoreOptions) -> Store:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ConfigError(f"store URL {without_credentials(url)!r} is no URL: {error}") from None
    if not parts.path.strip("/"):
        raise ConfigError(
            f"store URL {without_credentials(url)!r} names no database: postgresql://user:password@host:5432/database"
        )
    try:
        from durable_timer.stores.postgresql.store import PostgresStore
    except ModuleNotFoundError as error:
        raise _missing(url, error, "postgresql") from error
    return PostgresStore(url, options)


def _sqlite(url: str, options: StoreOptions) -> Store:
    _, found, path = url.partition(":///")
    if not found or not path or "?" in path or "#" in path:
        raise ConfigError(
            f"store URL {without_credentials(url)!r} names no file: sqlite:///relative/path or sqlite:////absolute/path"
        )
    from durable_timer.stores.sqlite.store import SqliteStore

    return SqliteStore(Path(unquote(path)), options)


def _missing(url: str, error: ModuleNotFoundError, extra: str) -> ConfigError:
    return ConfigError(
        f"store URL {without_credentials(url)!r} needs {error.name}, which is not installed: "
        f"pip install 'durable-timer[{extra}]'"
    )
