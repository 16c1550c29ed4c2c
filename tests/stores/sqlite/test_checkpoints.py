"""The log: moved into the file beside the writer, begun anew under load, and no reason to stop."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from durable_timer.clock import SystemClock
from durable_timer.stores.sqlite import checkpoints
from durable_timer.stores.sqlite.session import Session
from durable_timer.stores.sqlite.transaction import Transaction
from durable_timer.stores.sqlite.writer import Writer
from tests.support.waiting import eventually

BLOB = 200_000
PAGE = 4096


def write(transaction: Transaction) -> None:
    transaction.connection.execute("REPLACE INTO blobs VALUES (abs(random()) % 50, randomblob(?))", (BLOB,))


@pytest.fixture
async def writer(file: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Writer]:
    monkeypatch.setattr(checkpoints, "_EVERY", 0.01)
    monkeypatch.setattr(checkpoints, "_MANY", 5)
    monkeypatch.setattr(checkpoints, "_RARELY", 0.05)
    monkeypatch.setattr(checkpoints, "_LONG", 500)
    writer = Writer(file, SystemClock(), seconds=30, on_wakes=lambda wakes: None)
    await writer.write(lambda transaction: transaction.connection.execute("CREATE TABLE blobs (id PRIMARY KEY, blob)"))
    yield writer
    assert await writer.close()


def size(file: Path) -> int:
    return file.stat().st_size


def log_of(file: Path) -> Path:
    return file.with_name(file.name + "-wal")


async def test_what_was_committed_gets_into_the_file(writer: Writer, file: Path) -> None:
    for _ in range(20):
        await writer.write(write)
    await eventually(lambda: size(file) > 10 * BLOB)


async def test_the_log_does_not_grow_with_what_is_written(writer: Writer, file: Path) -> None:
    commits = 400
    for _ in range(commits):
        await writer.write(write)
    assert size(log_of(file)) < commits * BLOB / 2


async def test_an_error_does_not_end_it(writer: Writer, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed: list[Session] = []

    def fail_twice(session: Session) -> int:
        if len(failed) < 2:
            failed.append(session)
            raise sqlite3.OperationalError("disk I/O error")
        monkeypatch.undo()
        return checkpoints.checkpoint(session)

    monkeypatch.setattr(checkpoints, "checkpoint", fail_twice)
    for _ in range(20):
        await writer.write(write)
    await eventually(lambda: size(file) > 10 * BLOB)
    assert len(failed) == 2


async def test_closing_leaves_one_whole_file(file: Path) -> None:
    writer = Writer(file, SystemClock(), seconds=30, on_wakes=lambda wakes: None)
    await writer.write(lambda transaction: transaction.connection.execute("CREATE TABLE blobs (id PRIMARY KEY, blob)"))
    await writer.write(write)
    assert await writer.close()
    assert [path.name for path in file.parent.iterdir()] == [file.name]
