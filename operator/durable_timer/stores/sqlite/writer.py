"""The one thread that writes, joining what waits into one transaction."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from durable_timer.clock import Clock
from durable_timer.errors import GroupError
from durable_timer.stores.sqlite.calls import Call, Joint, closed
from durable_timer.stores.sqlite.checkpoints import Checkpointer, checkpoint
from durable_timer.stores.sqlite.session import Session, meaning
from durable_timer.stores.sqlite.transaction import Transaction

A = TypeVar("A")
T = TypeVar("T")
P = ParamSpec("P")

_WEIGHT: Final = 512
"""Rows that the ordinary calls of one transaction write, roughly: some 10 ms, for which others wait."""

_CLOSING: Final = 10.0
"""Seconds that calls under way have to end when the store closes."""

_Answers = list[tuple[Call[Any], Any]]
Wakes = dict[str, set[int]]


class Writer:
    """Calls that wait while a transaction is under way share the next one; an idle thread begins at once.

    Urgent calls, by which timers fire and members live, all go into the next transaction; of the ordinary ones as many
    as keep it short. `on_wakes` is called on the event loop after a commit.
    """

    def __init__(self, path: Path, clock: Clock, *, seconds: float, on_wakes: Callable[[Wakes], None]) -> None:
        self._path = path
        self._session = Session(path, seconds=seconds, reader=False)
        self._seconds = seconds
        self._clock = clock
        self._on_wakes = on_wakes
        self._urgent: deque[Call[Any]] = deque()
        self._ordinary: deque[Call[Any]] = deque()
        self._closed = False
        self._log_is_long = False
        self._signal = threading.Lock()
        self._signal.acquire()
        self._checkpointer = Checkpointer(path, self._finish_checkpoint)
        self._thread = threading.Thread(target=self._serve, name="sqlite-writer", daemon=True)
        self._thread.start()

    async def write(self, work: Callable[Concatenate[Transaction, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs `work` in a transaction and answers after its commit. A GroupError it raises has written nothing."""
        return await self._ask(Call(lambda transaction: work(transaction, *args, **kwargs)))

    async def write_urgently(
        self, work: Callable[Concatenate[Transaction, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The same for what others must not hold up."""
        return await self._ask(Call(lambda transaction: work(transaction, *args, **kwargs), urgent=True))

    async def write_jointly(
        self,
        joint: Callable[[Transaction, Sequence[A]], Sequence[T]],
        argument: A,
        *,
        weight: int = 1,
        urgent: bool = False,
    ) -> T:
        """The same for work that is cheaper for many: the arguments of all calls with this `joint` come as one."""
        return await self._ask(Call(joint=joint, argument=argument, weight=weight, urgent=urgent))

    async def close(self) -> bool:
        """Ends the thread after what waits; whether it has ended in time."""
        self._closed = True
        await self._checkpointer.close()
        self._wake()
        await asyncio.to_thread(self._thread.join, _CLOSING)
        return not self._thread.is_alive()

    async def _ask(self, call: Call[T]) -> T:
        if self._closed:
            raise closed()
        (self._urgent if call.urgent else self._ordinary).append(call)
        self._wake()
        return await call.answer(self._seconds)

    def _wake(self) -> None:
        """A signal given twice is one: the lock, held while nothing new has come, is open already."""
        with contextlib.suppress(RuntimeError):
            self._signal.release()

    def _serve(self) -> None:
        while True:
            if calls := self._next():
                self._do(calls)
            if self._log_is_long:
                self._shorten_log()
            elif calls:
                continue
            elif self._closed:
                break
            else:
                self._signal.acquire()
        self._session.drop()

    def _shorten_log(self) -> None:
        """Takes the last pages of the log along, so that the next transaction begins it anew."""
        self._log_is_long = False
        try:
            checkpoint(self._session)
        except sqlite3.Error:
            self._session.drop()

    def _finish_checkpoint(self) -> None:
        """Called by the checkpointer's thread."""
        self._log_is_long = True
        self._wake()

    def _next(self) -> list[Call[Any]]:
        calls = [self._urgent.popleft() for _ in range(len(self._urgent))]
        weight = 0
        while self._ordinary and weight < _WEIGHT:
            calls.append(self._ordinary.popleft())
            weight += calls[-1].weight
        return calls

    def _do(self, calls: Sequence[Call[Any]]) -> None:
        """All in one transaction; if any fails, each in its own, so that one's error is its own alone."""
        wanted = [call for call in calls if not call.future.done()]
        if not wanted:
            return
        try:
            answers, wakes = self._transact(wanted)
        except Exception as error:  # noqa: BLE001 - it reaches the caller
            if len(wanted) == 1:
                wanted[0].post(wanted[0].settle, meaning(self._path, error))
            else:
                for call in wanted:
                    self._do([call])
        else:
            wanted[0].post(self._finish, answers, wakes)

    def _finish(self, answers: _Answers, wakes: Wakes) -> None:
        for call, answer in answers:
            call.settle(answer)
        if wakes:
            self._on_wakes(wakes)

    def _transact(self, calls: Sequence[Call[Any]]) -> tuple[_Answers, Wakes]:
        connection = self._session.start()
        try:
            connection.execute("BEGIN IMMEDIATE")
            before = connection.total_changes
            answers: _Answers = []
            wakes: Wakes = {}
            for phase in _phases(calls):
                answers += _run(Transaction(connection, self._clock.now(), wakes), phase)
            connection.execute("COMMIT")
        except BaseException as error:
            self._undo(connection, error)
            raise
        self._checkpointer.committed(connection.total_changes - before)
        return answers, wakes

    def _undo(self, connection: sqlite3.Connection, error: BaseException) -> None:
        """Rolls back, and gives a connection up that is not known to be sound."""
        sound = not isinstance(error, sqlite3.Error) or isinstance(error, sqlite3.IntegrityError) or _is_full(error)
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            sound = False
        if not sound:
            self._session.drop()


def _is_full(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL


def _phases(calls: Sequence[Call[Any]]) -> Iterator[list[Call[Any]]]:
    """The ordinary calls, then the urgent ones: a take tells times by an instant that only its own work lies behind."""
    for urgent in (False, True):
        if phase := [call for call in calls if call.urgent is urgent]:
            yield phase


def _run(transaction: Transaction, calls: Sequence[Call[Any]]) -> _Answers:
    answers: _Answers = []
    joints: dict[Joint, list[Call[Any]]] = {}
    for call in calls:
        if call.future.done():
            continue
        if call.joint is not None:
            joints.setdefault(call.joint, []).append(call)
        elif call.work is not None:
            try:
                answers.append((call, call.work(transaction)))
            except GroupError as error:
                answers.append((call, error))
    for joint, together in joints.items():
        results = joint(transaction, [call.argument for call in together])
        answers.extend(zip(together, results, strict=True))
    return answers
