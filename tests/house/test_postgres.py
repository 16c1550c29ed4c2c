"""The PostgreSQL that the other tests stand on."""

import asyncio

import asyncpg
import pytest

from tests.support import postgres
from tests.support.postgres import EmbeddedPostgres, runs


async def value(url: str, query: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


@pytest.mark.postgresql
async def test_each_test_gets_an_empty_database(postgres_database: str) -> None:
    assert await value(postgres_database, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0


@pytest.mark.postgresql
async def test_the_database_of_a_module_is_not_that_of_a_test(postgres_database: str, postgres_url: str) -> None:
    assert await value(postgres_database, "SELECT current_database()") != await value(
        postgres_url, "SELECT current_database()"
    )


@pytest.mark.postgresql
async def test_a_connection_left_open_does_not_hold_up_the_end(postgres_database: str) -> None:
    connection = await asyncpg.connect(postgres_database)
    assert await connection.fetchval("SELECT 1") == 1
    connection.terminate()


async def test_a_private_server_keeps_its_data_and_its_url_through_kill_and_stop(
    private_postgres: EmbeddedPostgres,
) -> None:
    url = private_postgres.url
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    await asyncio.to_thread(private_postgres.kill)
    with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
        await connection.fetchval("SELECT 1")
    await asyncio.to_thread(private_postgres.start)
    await asyncio.to_thread(private_postgres.stop)
    await asyncio.to_thread(private_postgres.start)
    assert private_postgres.url == url
    assert await value(url, "SELECT answer FROM kept") == 42


async def test_nothing_is_left_of_a_removed_server(private_postgres: EmbeddedPostgres) -> None:
    pid = int((private_postgres._data / "postmaster.pid").read_text().split()[0])
    await asyncio.to_thread(private_postgres.remove)
    assert not runs(pid)
    assert not private_postgres.log.parent.exists()


async def test_programs_that_the_account_cannot_reach_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "_reachable", lambda path: path.name != "postgres")
    server = EmbeddedPostgres()
    try:
        assert server._programs.is_relative_to(server.log.parent)
        await asyncio.to_thread(server.start)
        assert await value(server.url, "SELECT 1") == 1
    finally:
        await asyncio.to_thread(server.remove)
