"""The threads that SQLite runs in: one that writes, joining what waits into one transaction, and a few that read.

Each unit of work is a function of a connection. Work may run more than once before it is answered (when others that
shared its transaction failed), so it keeps nothing outside of the database but what it returns.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from durable_timer.clock import Clock
from durable_timer.errors import GroupError, StoreUnavailable
from durable_timer.stores.sql.documents import instant_to_micros
from durable_timer.stores.sqlite.session import Session

T = TypeVar("T")
A = TypeVar("A")

_JOINED_MAX: Final = 512
"""Calls that share one transaction at most."""

_SOON_MICROS: Final = 2_000_000
"""A timer due later than this is found by the probes in time: no wake-up for it."""

_CLOSING: Final = 10.0
"""Seconds that calls under way have to end when the store closes."""


class Transaction:
    """What a unit of writing works with: the connection, the store's now, and the wake-ups to send after the commit."""

    __slots__ = ("connection", "micros", "now", "wakes")

    def __init__(self, connection: sqlite3.Connection, now: datetime) -> None:
        self.connection = connection
        self.now = now
        self.micros = instant_to_micros(now)
        self.wakes: dict[str, set[int]] = {}

    def wake(self, group_id: str, shards: Collection[int]) -> None:
        """Timers of these shards may be due sooner; none named means all of the group's."""
        if shards:
            present = self.wakes.setdefault(group_id, set(shards))
            if present:
                present.update(shards)
        else:
            self.wakes[group_id] = set()

    def wake_if_soon(self, group_id: str, shard: int, due_micros: int) -> None:
        if due_micros - self.micros < _SOON_MICROS:
            self.wake(group_id, (shard,))


Work = Callable[[Transaction], T]
Joint = Callable[[Transaction, Sequence[A]], Sequence[T]]
Reading = Callable[[sqlite3.Connection], T]


@dataclass(slots=True, eq=False)
class _Call(Generic[T]):
    """One call that waits for a thread. Its future is done early when the caller has gone."""

    future: asyncio.Future[T]
    joint: Joint[Any, T] | None = None
    argument: Any = None
    work: Callable[[Any], T] | None = None


@dataclass(slots=True)
class _Answers:
    """What a transaction came to: an answer (or an error that wrote nothing) by call."""

    calls: list[tuple[_Call[Any], Any]] = field(default_factory=list)
    wakes: dict[str, set[int]] = field(default_factory=dict)


class _Desk:
    """Where the event loop hands calls to threads, and gets its answers."""

    def __init__(self, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._waiting: queue.SimpleQueue[_Call[Any] | None] = queue.SimpleQueue()
        self._closed = False

    async def _ask(self, call: _Call[T]) -> T:
        if self._closed:
            raise StoreUnavailable("the store is closed")
        late = self._loop.call_later(self._seconds, self._give_up, call.future)
        self._waiting.put(call)
        try:
            return await call.future
        finally:
            late.cancel()

    def _give_up(self, future: asyncio.Future[Any]) -> None:
        if not future.done():
            future.set_exception(StoreUnavailable(f"no answer within {self._seconds:g} s"))

    def _post(self, answer: Callable[..., None], *arguments: object) -> None:
        """Calls on the loop's thread; a loop that has ended waits for nothing."""
        try:
            self._loop.call_soon_threadsafe(answer, *arguments)
        except RuntimeError:
            return


def _answer(call: _Call[Any], answer: Any) -> None:
    if call.future.done():
        return
    if isinstance(answer, Exception):
        call.future.set_exception(answer)
    else:
        call.future.set_result(answer)


class Writer(_Desk):
    """The one thread that writes. Calls that wait while a transaction is under way share the next one.

    `on_wakes` is called on the event loop after a commit. A call that is not answered within `seconds` raises
    StoreUnavailable; what was not begun by then is not done.
    """

    def __init__(
        self, path: Path, clock: Clock, *, seconds: float, on_wakes: Callable[[dict[str, set[int]]], None]
    ) -> None:
        super().__init__(seconds)
        self._session = Session(path, seconds=seconds, reader=False)
        self._clock = clock
        self._on_wakes = on_wakes
        self._thread = threading.Thread(target=self._serve, name="sqlite-writer", daemon=True)
        self._thread.start()

    async def write(self, work: Work[T]) -> T:
        """Runs `work` in a transaction and answers after its commit. A GroupError it raises has written nothing."""
        return await self._ask(_Call(self._loop.create_future(), work=work))

    async def write_joint(self, joint: Joint[A, T], argument: A) -> T:
        """The same for work that is cheaper for many: all waiting arguments of one `joint` come in one call."""
        return await self._ask(_Call(self._loop.create_future(), joint=joint, argument=argument))

    async def close(self) -> None:
        """Ends the thread after what waits."""
        self._closed = True
        self._waiting.put(None)
        await asyncio.to_thread(self._thread.join, _CLOSING)

    def _serve(self) -> None:
        going = True
        while going:
            calls, going = self._next()
            self._do(calls)
        self._session.drop()

    def _next(self) -> tuple[list[_Call[Any]], bool]:
        calls: list[_Call[Any]] = []
        call = self._waiting.get()
        while call is not None:
            calls.append(call)
            if len(calls) == _JOINED_MAX or self._waiting.empty():
                return calls, True
            call = self._waiting.get()
        return calls, False

    def _do(self, calls: Sequence[_Call[Any]]) -> None:
        """All in one transaction; if any fails, each in its own, so that one's error is its own alone."""
        wanted = [call for call in calls if not call.future.done()]
        if not wanted:
            return
        try:
            answers = self._transact(wanted)
        except Exception as error:  # noqa: BLE001 - it reaches the caller
            if len(wanted) > 1:
                for call in wanted:
                    self._do([call])
            else:
                self._post(_answer, wanted[0], self._session.meaning(error))
        else:
            self._post(self._finish, answers)

    def _finish(self, answers: _Answers) -> None:
        for call, answer in answers.calls:
            _answer(call, answer)
        if answers.wakes:
            self._on_wakes(answers.wakes)

    def _transact(self, calls: Sequence[_Call[Any]]) -> _Answers:
        connection = self._session.start()
        try:
            connection.execute("BEGIN IMMEDIATE")
            transaction = Transaction(connection, self._clock.now())
            answers = _Answers(_run(transaction, calls), transaction.wakes)
            connection.execute("COMMIT")
        except BaseException as error:
            self._undo(connection, error)
            raise
        return answers

    def _undo(self, connection: sqlite3.Connection, error: BaseException) -> None:
        """Rolls back, and gives a connection up that is not known to be sound."""
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._session.drop()
        if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode != sqlite3.SQLITE_FULL:
            self._session.drop()


def _run(transaction: Transaction, calls: Sequence[_Call[Any]]) -> list[tuple[_Call[Any], Any]]:
    answers: list[tuple[_Call[Any], Any]] = []
    joint: dict[Joint[Any, Any], list[_Call[Any]]] = {}
    for call in calls:
        if call.joint is not None:
            joint.setdefault(call.joint, []).append(call)
        elif call.work is not None:
            try:
                answers.append((call, call.work(transaction)))
            except GroupError as error:
                answers.append((call, error))
    for together, members in joint.items():
        results = together(transaction, [call.argument for call in members])
        answers.extend(zip(members, results, strict=True))
    return answers


class Readers(_Desk):
    """A few threads that read, each what was committed when its work began; they hold up nobody who writes."""

    def __init__(self, path: Path, *, threads: int, seconds: float) -> None:
        super().__init__(seconds)
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

    async def read(self, reading: Reading[T]) -> T:
        """Runs `reading` in one read transaction; it ends early when the caller goes or its time is over."""
        return await self._ask(_Call(self._loop.create_future(), work=reading))

    async def close(self) -> None:
        """Ends the threads after what waits."""
        self._closed = True
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join, _CLOSING)

    def _serve(self, session: Session) -> None:
        while (call := self._waiting.get()) is not None:
            if not call.future.done() and call.work is not None:
                self._post(_answer, call, _read(session, call))
        session.drop()


def _read(session: Session, call: _Call[T]) -> T | Exception:
    """The answer, or the error that the caller gets."""
    if call.work is None:
        raise TypeError("a reader's call has work")
    try:
        connection = session.start(call.future.done)
        connection.execute("BEGIN")
        try:
            return call.work(connection)
        finally:
            connection.execute("ROLLBACK")
    except Exception as error:  # noqa: BLE001 - it reaches the caller
        session.drop()
        return session.meaning(error)
