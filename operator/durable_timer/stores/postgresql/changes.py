"""Writes to timers that are there: pure transitions under a row lock, and deletes in one statement where they can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from durable_timer.models.results import (
    DeleteResult,
    DeleteStatus,
    Refusal,
    Target,
    WhenRunning,
    WriteResult,
)
from durable_timer.models.timer import Timer, TimerChange
from durable_timer.planning import transitions
from durable_timer.stores.postgresql import statements
from durable_timer.stores.postgresql.connections import Connection, Connections
from durable_timer.stores.postgresql.keyed import Key, lock_rows, move_rows, write_rows
from durable_timer.stores.postgresql.wakeups import WakeUps

Verb = Callable[[Timer | None, Target, datetime], Timer | Refusal]


class Changes:
    """`update`, `delete`, `run` and `redrive` of `Store`."""

    def __init__(self, connections: Connections, wakeups: WakeUps) -> None:
        self._connections = connections
        self._wakeups = wakeups

    async def update(self, group_id: str, target: Target, change: TimerChange, *, managed: bool = False) -> WriteResult:
        """See `Store.update`."""

        async def work(connection: Connection) -> WriteResult:
            rows, now = await lock_rows(connection, [(group_id, target.timer_id)])
            row = rows.get((group_id, target.timer_id))
            if row is None or now is None:
                return WriteResult(None, Refusal.NOT_FOUND)
            after = transitions.changed(row, target, change, now, managed=managed)
            if isinstance(after, Refusal):
                return WriteResult(row, after)
            if after is not row:
                await write_rows(connection, [after])
                written.append(after)
            return WriteResult(after)

        written: list[Timer] = []
        result = await self._connections.transaction(work)
        self._wake(written)
        return result

    async def run(self, group_id: str, targets: Sequence[Target]) -> list[WriteResult]:
        """See `Store.run`."""
        return await self._apply(group_id, targets, transitions.run_now)

    async def redrive(self, group_id: str, targets: Sequence[Target]) -> list[WriteResult]:
        """See `Store.redrive`."""
        return await self._apply(group_id, targets, transitions.redriven)

    async def _apply(self, group_id: str, targets: Sequence[Target], verb: Verb) -> list[WriteResult]:
        """Two statements however many targets there are; several of one timer act in their order."""

        async def work(connection: Connection) -> tuple[list[WriteResult], list[Timer]]:
            rows, now = await lock_rows(connection, _keys(group_id, targets))
            if now is None:
                return [WriteResult(None, Refusal.NOT_FOUND) for _ in targets], []
            results, changed = [], {}
            for target in targets:
                key = group_id, target.timer_id
                row = rows.get(key)
                after = verb(row, target, now)
                if isinstance(after, Refusal):
                    results.append(WriteResult(row, after))
                    continue
                if after is not row:
                    rows[key] = changed[key] = after
                results.append(WriteResult(after))
            await move_rows(connection, changed.values())
            return results, list(changed.values())

        results, changed = await self._connections.transaction(work)
        self._wake(changed)
        return results

    async def delete(
        self, group_id: str, targets: Sequence[Target], when_running: WhenRunning, *, managed: bool = False
    ) -> list[DeleteResult]:
        """See `Store.delete`."""
        if not targets:
            return []
        first_of = {target.timer_id: place for place, target in reversed(list(enumerate(targets)))}
        places = [first_of[timer_id] for timer_id in sorted(first_of)]
        versions = [targets[place].if_version for place in places]
        [[done]] = await self._connections.fetch(
            statements.DELETE,
            group_id,
            [targets[place].timer_id for place in places],
            [None if version is None else version.uid for version in versions],
            [None if version is None else version.version for version in versions],
            managed,
        )
        results = [DeleteResult(DeleteStatus.DELETED) for _ in targets]
        gone = set(places if done is None else (places[place] for place in done))
        left = [place for place in range(len(targets)) if place not in gone]
        if not left:
            return results
        again = await self._look_again(group_id, [targets[place] for place in left], when_running, managed=managed)
        for place, result in zip(left, again, strict=True):
            results[place] = result
        return results

    async def _look_again(
        self, group_id: str, targets: Sequence[Target], when_running: WhenRunning, *, managed: bool
    ) -> list[DeleteResult]:
        """Deletes, stops or refuses what the one statement left, under a lock."""

        async def work(connection: Connection) -> list[DeleteResult]:
            rows, now = await lock_rows(connection, _keys(group_id, targets))
            results, gone, stopping = [], [], []
            for target in targets:
                row = rows.get((group_id, target.timer_id))
                status = transitions.deleted(row, target, when_running, managed=managed)
                if isinstance(status, Refusal) or row is None or now is None:
                    refusal = status if isinstance(status, Refusal) else Refusal.NOT_FOUND
                    results.append(DeleteResult(DeleteStatus.REFUSED, refusal, row))
                    continue
                results.append(DeleteResult(status))
                if status is DeleteStatus.DELETED:
                    gone.append(target.timer_id)
                    del rows[group_id, target.timer_id]
                elif not row.cancel_requested:
                    rows[group_id, target.timer_id] = transitions.stopping(row, now)
                    stopping.append((group_id, target.timer_id))
            await move_rows(connection, [rows[key] for key in stopping])
            if gone:
                await connection.execute(statements.DELETE_LOCKED, group_id, gone)
            return results

        return await self._connections.transaction(work)

    def _wake(self, timers: Sequence[Timer]) -> None:
        for timer in timers:
            self._wakeups.due(timer)


def _keys(group_id: str, targets: Sequence[Target]) -> list[Key]:
    return sorted({(group_id, target.timer_id) for target in targets})
