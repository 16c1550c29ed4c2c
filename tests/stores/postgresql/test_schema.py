"""The schema: made, kept, and refused."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import TypeVar

import asyncpg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.ext.asyncio import create_async_engine

from durable_timer.errors import SchemaVersionError, StoreError
from durable_timer.stores.options import StoreOptions
from durable_timer.stores.postgresql.store import PostgresStore
from durable_timer.stores.sql.migrate import NEWEST, SCHEMA, VERSION_TABLE, check, schema_version, upgrade
from durable_timer.stores.sql.tables import metadata
from tests.stores.postgresql.conftest import OpenStore
from tests.support.postgres import new_database

pytestmark = pytest.mark.postgresql

T = TypeVar("T")


async def run(url: str, work: Callable[[sa.Connection], T]) -> T:
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(work)
    finally:
        await engine.dispose()


def differences(connection: sa.Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return list(compare_metadata(context, metadata))


@pytest.mark.parametrize("earlier", range(SCHEMA))
async def test_from_empty_and_from_each_earlier_schema(
    postgres_database: str, open_store: OpenStore, earlier: int
) -> None:
    if earlier:
        await run(postgres_database, lambda connection: upgrade(connection, earlier))
    store = open_store()
    await store.migrate()
    assert await run(postgres_database, schema_version) == SCHEMA
    assert await run(postgres_database, differences) == []
    await store.groups(None)


async def test_many_that_migrate_at_once_wait_for_each_other(postgres_database: str, open_store: OpenStore) -> None:
    await asyncio.gather(*(open_store().migrate() for _ in range(4)))
    assert await run(postgres_database, schema_version) == SCHEMA


async def test_several_databases_migrate_at_once(postgres_server: str) -> None:
    """As those of a bridge, or an operator, with several stores."""
    with contextlib.ExitStack() as made:
        urls = [made.enter_context(new_database(postgres_server)) for _ in range(4)]
        stores = [PostgresStore(url, StoreOptions()) for url in urls]
        await asyncio.gather(*(store.migrate() for store in stores))
        for url, store in zip(urls, stores, strict=True):
            assert await run(url, differences) == []
            await store.close()


async def test_a_newer_schema_in_range_is_left_alone(
    store: PostgresStore, connection: asyncpg.Connection, postgres_database: str
) -> None:
    await connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = $1", f"{NEWEST:04}")
    await store.migrate()
    assert await run(postgres_database, schema_version) == NEWEST


async def test_a_schema_out_of_range_is_refused(store: PostgresStore, connection: asyncpg.Connection) -> None:
    await connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = $1", f"{NEWEST + 1:04}")
    with pytest.raises(SchemaVersionError, match=f"{NEWEST + 1}.*{SCHEMA} to {NEWEST}"):
        await store.migrate()


async def test_a_database_without_a_schema_says_what_to_do(open_store: OpenStore) -> None:
    with pytest.raises(SchemaVersionError, match="durable-timer migrate"):
        await open_store().groups(None)


async def test_a_migration_that_fails_leaves_nothing_behind(
    postgres_database: str, open_store: OpenStore, connection: asyncpg.Connection
) -> None:
    await connection.execute("CREATE TABLE timers (anything int)")
    store = open_store()
    with pytest.raises(StoreError, match="already exists"):
        await store.migrate()
    assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE tablename LIKE 'timer%'") == 1
    await connection.execute("DROP TABLE timers")
    await store.migrate()


@pytest.mark.parametrize("version", [SCHEMA - 1, NEWEST + 1])
def test_what_is_out_of_range_is_named_with_the_range(version: int) -> None:
    with pytest.raises(SchemaVersionError, match=f"version {version}, .* {SCHEMA} to {NEWEST}"):
        check(version)
