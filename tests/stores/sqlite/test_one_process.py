"""A file belongs to one process, until that ends."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from durable_timer.errors import StoreInUse, StoreUnavailable
from durable_timer.stores.options import StoreOptions
from durable_timer.stores.sqlite.lock import FileLock
from durable_timer.stores.sqlite.store import SqliteStore
from tests.stores.sqlite.conftest import OpenStore

HOLD = """
import sys
from pathlib import Path
from durable_timer.stores.sqlite.lock import FileLock
lock = FileLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""
TRY = """
import asyncio, sys
from durable_timer.errors import StoreInUse
from durable_timer.stores.registry import open_store
try:
    open_store("sqlite:///" + sys.argv[1])
except StoreInUse as error:
    sys.exit(str(error))
"""


async def test_a_second_process_is_refused_and_told_by_whom(store: SqliteStore, file: Path) -> None:
    second = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", TRY, str(file)], check=False, capture_output=True, text=True, timeout=60
    )
    assert second.returncode == 1
    assert str(file) in second.stderr
    assert f"process {os.getpid()}" in second.stderr


async def test_a_second_store_of_the_same_process_is_refused(store: SqliteStore, open_store: OpenStore) -> None:
    with pytest.raises(StoreInUse):
        open_store()


def test_a_killed_holder_holds_nothing(file: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreInUse, match=f"process {holder.pid}"):
            FileLock(file)
        holder.send_signal(signal.SIGKILL)
        holder.wait(timeout=30)
    FileLock(file).release()


async def test_a_closed_store_leaves_the_file_to_the_next(file: Path) -> None:
    first = SqliteStore(file, StoreOptions())
    await first.migrate()
    await first.close()
    second = SqliteStore(file, StoreOptions())
    await second.ping()
    await second.close()


async def test_a_closed_store_answers_no_more(file: Path) -> None:
    store = SqliteStore(file, StoreOptions())
    await store.migrate()
    await store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.ping()
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.groups(None)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="nowhere"):
        SqliteStore(tmp_path / "nowhere" / "timers.db", StoreOptions())


def test_a_link_to_the_file_is_the_file(file: Path) -> None:
    file.touch()
    link = file.with_name("link.db")
    link.symlink_to(file)
    lock = FileLock(file)
    with pytest.raises(StoreInUse):
        FileLock(link)
    lock.release()
