"""The schema of a file: made, kept, and refused."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from durable_timer.errors import ConfigError, SchemaVersionError, StoreUnavailable
from durable_timer.stores.options import StoreOptions
from durable_timer.stores.sql.migrate import NEWEST, SCHEMA, VERSION_TABLE, schema_version, upgrade
from durable_timer.stores.sql.tables import metadata
from durable_timer.stores.sqlite import schema
from durable_timer.stores.sqlite.store import SqliteStore
from tests.stores.sqlite.conftest import OpenStore


def set_version(file: Path, version: int) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = ?", (f"{version:04}",))


@pytest.mark.parametrize("earlier", range(SCHEMA))
def test_from_empty_and_from_each_earlier_schema(file: Path, earlier: int) -> None:
    engine = sa.create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        if earlier:
            upgrade(connection, earlier)
    schema.migrate(file)
    with engine.connect() as connection:
        assert schema_version(connection) == SCHEMA
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


async def test_several_files_migrate_at_once(tmp_path: Path) -> None:
    stores = [SqliteStore(tmp_path / f"{number}.sqlite", StoreOptions()) for number in range(4)]
    await asyncio.gather(*(store.migrate() for store in stores))
    for store in stores:
        assert await store.groups(None) == ([], 0)
        await store.close()


async def test_migrating_twice_changes_nothing(store: SqliteStore) -> None:
    await store.migrate()
    await store.ping()


async def test_a_newer_schema_in_range_is_left_alone(store: SqliteStore, file: Path) -> None:
    set_version(file, NEWEST)
    await store.migrate()
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone() == (f"{NEWEST:04}",)


async def test_a_schema_out_of_range_is_refused(store: SqliteStore, file: Path) -> None:
    set_version(file, NEWEST + 1)
    with pytest.raises(SchemaVersionError, match=str(NEWEST + 1)):
        await store.migrate()


@pytest.fixture
def text(file: Path) -> None:
    """A text where the database should be."""
    file.write_bytes(b"this is a text, and not a short one, about no database at all. " * 100)


@pytest.fixture
def damage(file: Path) -> None:
    """A database of which only the first page is left."""
    schema.migrate(file)
    with file.open("r+b") as raw:
        raw.seek(4096)
        raw.write(b"\xff" * (file.stat().st_size - 4096))


async def test_a_file_that_is_no_database_is_named(text: None, open_store: OpenStore) -> None:
    store = open_store()
    with pytest.raises(StoreUnavailable, match=r"timers\.db.*(damaged|not a database)"):
        await store.migrate()
    with pytest.raises(StoreUnavailable, match=r"timers\.db is damaged or no SQLite database"):
        await store.ping()


async def test_a_damaged_file_is_said_to_be_so(damage: None, open_store: OpenStore) -> None:
    with pytest.raises(StoreUnavailable, match=r"timers\.db is damaged"):
        await open_store().groups(None)


def test_a_library_that_is_too_old_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(ConfigError, match=r"3\.35"):
        SqliteStore(file, StoreOptions())
