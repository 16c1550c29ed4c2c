"""From a URL to a store, and what is said of one that cannot be used."""

import sys
from pathlib import Path

import pytest

from durable_timer.errors import ConfigError, StoreUnavailable
from durable_timer.stores.registry import open_store, without_credentials


@pytest.mark.parametrize(
    "url", ["postgresql://u:p@db.example:5432/timers?sslmode=require", "postgres:///timers?host=/run"]
)
async def test_postgresql_is_opened_without_connecting(url: str) -> None:
    store = open_store(url)
    assert store.capabilities.name == "postgresql"
    await store.close()


async def test_sqlite_is_opened_by_path(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/a%20file.db")
    assert store.capabilities.name == "sqlite"
    await store.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "postgresql:// or sqlite://"),
        ("timers.db", "postgresql:// or sqlite://"),
        ("oracle://scott:tiger@db/x", "'oracle://***@db/x' must begin with"),
        ("postgresql://scott:tiger@db", "names no database"),
        ("postgresql://scott:tiger@db:port/x", "is no URL"),
        ("sqlite://", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite://file.db", "names no file"),
    ],
)
def test_a_wrong_url_is_named_without_its_credentials(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=r".") as raised:
        open_store(url)
    assert said in str(raised.value)
    assert "tiger" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:secret@h/d",
        "postgresql://u:se/cret@h/d",
        "postgresql://u:se@cret@h/d",
        "postgresql://h/d?password=secret",
    ],
)
def test_credentials_are_hidden_however_they_are_written(url: str) -> None:
    assert "cret" not in without_credentials(url)


def test_a_lacking_driver_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("durable_timer.stores.postgresql")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(ConfigError, match=r"needs asyncpg.*durable-timer\[postgresql\]"):
        open_store("postgresql://db/timers")


@pytest.mark.postgresql
async def test_an_option_that_the_driver_does_not_know_is_a_wrong_url() -> None:
    store = open_store("postgresql://127.0.0.1/timers?sslmode=perhaps")
    with pytest.raises((ConfigError, StoreUnavailable), match="sslmode"):
        await store.ping()
    await store.close()
