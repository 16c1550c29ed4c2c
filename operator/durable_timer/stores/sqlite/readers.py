"""The threads that read."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from durable_timer.stores.sqlite.calls import Call, closed
from durable_timer.stores.sqlite.session import Session, meaning

T = TypeVar("T")
P = ParamSpec("P")

_CLOSING: Final = 10.0
"""Seconds that calls under way have to end when the store closes."""


class Readers:
    """A few threads, each reading what was committed when a call began; they neither hold up a writer nor wait for one."""

    def __init__(self, path: Path, *, threads: int, seconds: float) -> None:
        self._path = path
        self._seconds = seconds
        self._waiting: queue.SimpleQueue[Call[Any] | None] = queue.SimpleQueue()
        self._closed = False
        self._threads = [
            threading.Thread(
                target=self._serve,
                args=(Session(path, seconds=seconds, reader=True),),
                name=f"sqlite-reader-{number}",
                daemon=True,
            )
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    async def read(
        self, work: Callable[Concatenate[sqlite3.Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Runs `work` in one read transaction. It ends early when the caller goes or its time is over."""
        if self._closed:
            raise closed()
        call: Call[T] = Call(lambda connection: work(connection, *args, **kwargs))
        self._waiting.put(call)
        return await call.answer(self._seconds)

    async def close(self) -> None:
        """Ends the threads after what waits."""
        self._closed = True
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join, _CLOSING)

    def _serve(self, session: Session) -> None:
        while (call := self._waiting.get()) is not None:
            if not call.future.done():
                call.post(call.settle, _read(self._path, session, call))
        session.drop()


def _read(path: Path, session: Session, call: Call[Any]) -> Any:
    """The answer, or the error that the caller gets; after an error the connection is given up."""
    if call.work is None:
        raise TypeError("a reader's call has work of its own")
    try:
        connection = session.start(call.future.done)
        connection.execute("BEGIN")
        answer = call.work(connection)
        connection.execute("ROLLBACK")
    except Exception as error:  # noqa: BLE001 - it reaches the caller
        session.drop()
        return meaning(path, error)
    return answer
