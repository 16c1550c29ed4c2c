"""Creating timers: inserts in one statement, and what is done about those that were there."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from durable_timer.errors import StoreUnavailable
from durable_timer.models.results import CreateResult, CreateStatus, IfExists
from durable_timer.models.timer import NewTimer, Timer, is_plain
from durable_timer.planning import transitions
from durable_timer.stores.postgresql import statements
from durable_timer.stores.postgresql.connections import Connection, Connections
from durable_timer.stores.postgresql.keyed import Key, key_of, lock_rows, read_rows, write_rows
from durable_timer.stores.postgresql.wakeups import WakeUps
from durable_timer.stores.sql import documents

_TRIES: Final = 5
"""How often a timer is inserted that was there at the insert and gone at the look."""


class Creates:
    """`Store.create`."""

    def __init__(self, connections: Connections, wakeups: WakeUps) -> None:
        self._connections = connections
        self._wakeups = wakeups

    async def create(self, timers: Sequence[NewTimer], if_exists: IfExists) -> list[CreateResult]:
        """See `Store.create`. Only what was not inserted costs more than one statement.

        Of items that name the same id, the first is inserted and the others find it; each waits for its turn.
        """
        results: list[CreateResult | None] = [None] * len(timers)
        waiting = list(range(len(timers)))
        for _ in range(_TRIES):
            if not waiting:
                break
            firsts, later = _first_of_each(timers, waiting)
            absent = await self._insert(timers, firsts, results)
            waiting = await self._meet(timers, sorted(absent + later), if_exists, results)
        if waiting:
            raise StoreUnavailable("timers that are created and deleted at once: give it another try")
        self._wake(results)
        return [result for result in results if result is not None]

    async def _insert(
        self, timers: Sequence[NewTimer], firsts: list[int], results: list[CreateResult | None]
    ) -> list[int]:
        """Inserts, in key order; the positions of those whose key was taken."""
        if len(firsts) > 1:
            firsts.sort(key=lambda place: key_of(timers[place]))
        batch = [timers[place] for place in firsts]
        uids = struct.unpack(f"{len(batch)}q", os.urandom(8 * len(batch)))
        now, made = (await self._connections.fetch(*_insert_of(batch, uids)))[0]
        inserted = None if made is None else set(made)
        absent = []
        for place, new, uid in zip(firsts, batch, uids, strict=True):
            if inserted is None or uid in inserted:
                results[place] = CreateResult(CreateStatus.CREATED, transitions.created(new, uid=uid, now=now))
            else:
                absent.append(place)
        return absent

    async def _meet(
        self,
        timers: Sequence[NewTimer],
        places: list[int],
        if_exists: IfExists,
        results: list[CreateResult | None],
    ) -> list[int]:
        """Deals with items whose key has a row, in their order; the positions of those whose row is gone again."""
        if not places:
            return []
        keys = sorted({key_of(timers[place]) for place in places})
        if if_exists is not IfExists.REPLACE:
            return _judge(timers, places, if_exists, await read_rows(self._connections, keys), None, results)[0]

        async def replace(connection: Connection) -> list[int]:
            rows, now = await lock_rows(connection, keys)
            gone, changed = _judge(timers, places, if_exists, rows, now, results)
            await write_rows(connection, changed)
            return gone

        return await self._connections.transaction(replace)

    def _wake(self, results: Sequence[CreateResult | None]) -> None:
        for result in results:
            if result is not None and result.status in (CreateStatus.CREATED, CreateStatus.REPLACED):
                self._wakeups.due(result.timer)


def _first_of_each(timers: Sequence[NewTimer], places: list[int]) -> tuple[list[int], list[int]]:
    """The places of the first item with each key, and of all others."""
    keys = [key_of(timers[place]) for place in places]
    if len(set(keys)) == len(keys):
        return places, []
    firsts = list(dict(zip(reversed(keys), reversed(places), strict=True)).values())
    return firsts, sorted(set(places) - set(firsts))


def _judge(
    timers: Sequence[NewTimer],
    places: Sequence[int],
    if_exists: IfExists,
    rows: dict[Key, Timer],
    now: datetime | None,
    results: list[CreateResult | None],
) -> tuple[list[int], list[Timer]]:
    """Fills in results by what was found; the positions of absent rows, and the rows to be written."""
    gone, changed = [], {}
    for place in places:
        new = timers[place]
        row = rows.get(key_of(new))
        if row is None:
            gone.append(place)
            continue
        status, after = transitions.create_over(row, new, if_exists, now or row.updated_at)
        if after is not row:
            rows[key_of(new)] = changed[key_of(new)] = after
        results[place] = CreateResult(status, after)
    return gone, list(changed.values())


def _insert_of(batch: Sequence[NewTimer], uids: Sequence[int]) -> tuple[Any, ...]:
    """The statement that inserts them, and its values: column by column, none for what nobody asks for."""
    plain = (
        [new.group_id for new in batch],
        [new.timer_id for new in batch],
        [new.shard for new in batch],
        uids,
        [new.callback_url for new in batch],
        [new.fingerprint for new in batch],
        [new.payload for new in batch],
        at := [new.execute_at for new in batch],
    )
    special = not all(map(is_plain, batch))
    if not special and None not in at:
        return statements.CREATE_PLAIN, *plain
    delays = [None if new.delay is None else documents.to_micros(new.delay) for new in batch]
    if not special:
        return statements.CREATE_DELAYED, *plain, delays
    return statements.CREATE_SPECIAL, *plain, delays, *zip(*map(_special_values, batch), strict=True)


def _special_values(new: NewTimer) -> tuple[Any, ...]:
    return (
        new.content_type,
        1 if new.suspended else 0,
        None if new.callback_method is None else new.callback_method.value,
        None if new.callback_format is None else new.callback_format.value,
        documents.headers_to_json(new.headers),
        documents.labels_to_json(new.labels),
        documents.policy_to_json(new.retry_policy),
        documents.schedule_to_json(new.schedule),
        documents.manager_to_json(new.managed_by),
        new.traceparent,
        None if new.callback_timeout is None else documents.to_micros(new.callback_timeout),
        None if new.starting_deadline is None else documents.to_micros(new.starting_deadline),
    )
