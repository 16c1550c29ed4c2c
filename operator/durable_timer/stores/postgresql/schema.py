"""Migrations on PostgreSQL, one process at a time."""

from __future__ import annotations

from typing import Any, Final

import asyncpg
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from durable_timer.stores.options import StoreOptions
from durable_timer.stores.postgresql.connections import CONNECT_TIMEOUT, DRIVER_ERRORS, translated
from durable_timer.stores.sql.migrate import SCHEMA, one_at_a_time, schema_version, upgrade

LOCK: Final = 0x64_75_72_61_62_6C_65
"""The advisory lock that is held while migrating; it ends with the transaction."""


async def migrate(url: str, options: StoreOptions) -> int:
    """Brings the schema to this release's version; the version it has now.

    All in one transaction, without a statement timeout: a migration takes the time it takes, and one that is broken
    off leaves nothing behind.

    Raises:
        SchemaVersionError: the schema is newer than this release runs on.
        StoreUnavailable: the server cannot be reached.
    """

    async def connect() -> Any:
        return await asyncpg.connect(
            url, timeout=CONNECT_TIMEOUT, server_settings={"application_name": options.application_name}
        )

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            version = await connection.run_sync(schema_version)
            if version == SCHEMA:
                return version
            async with one_at_a_time():
                return await connection.run_sync(upgrade)
    except sa.exc.DBAPIError as error:
        cause = error.orig.__cause__ if error.orig is not None else None
        raise translated(cause if isinstance(cause, Exception) else error) from None
    except DRIVER_ERRORS as error:
        raise translated(error) from None
    finally:
        await engine.dispose()
