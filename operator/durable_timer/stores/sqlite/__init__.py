"""The store in one SQLite file, for one process: by the standard library's driver, one thread that writes, a few that read."""

from durable_timer.stores.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
