"""Bringing a schema to this release's: from empty and from each earlier revision, and never beyond what is known.

Revisions are numbered; the number is the schema's version. A release migrates to its own version N and also runs on
N + 1, because a schema is first expanded (a release that needs a column comes after one that lives with it) and
contracted a release later. So a rolling update, and going back one release after it, work without touching the schema.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext

from durable_timer.errors import SchemaVersionError

VERSION_TABLE: Final = "timer_schema"
"""The table with the schema's version."""

SCHEMA: Final = 2
"""The version this release migrates to, and the oldest it runs on."""

NEWEST: Final = SCHEMA + 1
"""The newest version this release runs on."""

_SCRIPTS: Final = Path(__file__).parent / "migrations"
_UNDER_WAY: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock]] = WeakKeyDictionary()


def one_at_a_time() -> asyncio.Lock:
    """What an upgrade in this process holds: Alembic keeps the connection it works on in module globals."""
    return _UNDER_WAY.setdefault(asyncio.get_running_loop(), asyncio.Lock())


def schema_version(connection: sa.Connection) -> int:
    """The schema's version; 0 where there is none.

    Raises:
        SchemaVersionError: what is there was not made by these migrations.
    """
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    found = context.get_current_heads()
    if not found:
        return 0
    if len(found) > 1 or not found[0].isdigit():
        raise SchemaVersionError(f"table {VERSION_TABLE} holds {', '.join(found)}, which no release of this wrote")
    return int(found[0])


def check(version: int) -> None:
    """Raises SchemaVersionError unless this release runs on a schema of that version."""
    if version > NEWEST:
        raise SchemaVersionError(
            f"the store's schema is version {version}, this release runs on {SCHEMA} to {NEWEST}: use a newer release"
        )
    if version < SCHEMA:
        raise SchemaVersionError(
            f"the store's schema is version {version}, this release runs on {SCHEMA} to {NEWEST}: "
            "run `durable-timer migrate`"
        )


def upgrade(connection: sa.Connection, to: int = SCHEMA) -> int:
    """Brings the schema to version `to` in the connection's transaction, and answers the version it has now.

    A schema that is newer is left as it is. The caller holds `one_at_a_time` and a lock that keeps other processes from
    doing the same.

    Raises:
        SchemaVersionError: the schema is newer than this release runs on; nothing was changed.
    """
    version = schema_version(connection)
    if version < to:
        config = Config()
        config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, f"{to:04}")
        version = to
    elif version > NEWEST:
        check(version)
    return version
