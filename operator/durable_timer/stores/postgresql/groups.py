"""Groups: registration by compare-and-set, states, purges."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from durable_timer.errors import GroupIdConflict, StoreUnavailable, UnknownGroup
from durable_timer.models.group import Group, GroupRegistration, GroupState, spec_to_json
from durable_timer.planning.registration import check_registration, moves
from durable_timer.stores.postgresql import statements
from durable_timer.stores.postgresql.connections import Connection, Connections
from durable_timer.stores.postgresql.keyed import CODEC
from durable_timer.stores.postgresql.wakeups import WakeUps
from durable_timer.stores.sql.rows import GROUP_STATE_CODES

_TRIES: Final = 3


class Groups:
    """The calls of `Store` about groups. Each locks the group's row first, then the counter, then the pool."""

    def __init__(self, connections: Connections, wakeups: WakeUps) -> None:
        self._connections = connections
        self._wakeups = wakeups

    async def register(self, registration: GroupRegistration) -> Group:
        """See `Store.register_group`."""

        async def work(connection: Connection) -> tuple[Group, bool]:
            group, now, is_new = await _found_or_inserted(connection, registration)
            check_registration(group, registration, now)
            wanted = replace(
                group,
                shards=registration.shards,
                pool=registration.pool,
                spec=registration.spec,
                generation=registration.generation,
                state=GroupState.ACTIVE,
                emptied_at=None,
            )
            if group == wanted and not is_new:
                return group, False
            written = await _write(connection, wanted)
            for pool in sorted({group.pool, written.pool}):
                await connection.execute(statements.TOUCH_POOL, pool)
            added = (written.group_id, written.shards, written.pool, moves(group, registration))
            await connection.execute(statements.ADD_SHARDS, *added)
            return written, True

        group, changed = await self._connections.transaction(work)
        if changed:
            self._wakeups.group(group.group_id)
        return group

    async def since(self, since: int | None) -> tuple[list[Group], int]:
        """See `Store.groups`."""
        rows = await self._connections.fetch(statements.GROUPS, -1 if since is None else since)
        return CODEC.groups(row for _, *row in rows if row[0] is not None), rows[0][0]

    async def set_state(self, group_id: str, owner: str, state: GroupState) -> Group:
        """See `Store.set_group_state`."""

        async def work(connection: Connection) -> Group:
            group = await _locked(connection, group_id)
            if group.owner != owner:
                raise GroupIdConflict(group_id, group.owner)
            if group.state is state:
                return group
            written = await _write(connection, replace(group, state=state))
            await connection.execute(statements.TOUCH_POOL, written.pool)
            return written

        group = await self._connections.transaction(work)
        if state is GroupState.ACTIVE:
            self._wakeups.group(group_id)
        return group

    async def transfer(self, group_id: str, to_owner: str, from_owner: str | None) -> Group:
        """See `Store.transfer_group`."""

        async def work(connection: Connection) -> Group:
            group = await _locked(connection, group_id)
            if group.owner == to_owner:
                return group
            if from_owner is not None and group.owner != from_owner:
                raise GroupIdConflict(group_id, group.owner)
            return await _write(connection, replace(group, owner=to_owner))

        return await self._connections.transaction(work)

    async def purge(self, group_id: str, limit: int) -> int:
        """See `Store.purge_group`."""
        [[gone]] = await self._connections.fetch(statements.PURGE_GROUP, group_id, limit)
        return int(gone)

    async def finish_purge(self, group_id: str) -> None:
        """See `Store.finish_purge`."""

        async def work(connection: Connection) -> None:
            rows = await connection.fetch(statements.LOCK_GROUP, group_id)
            group = CODEC.group(rows[0][1:]) if rows else None
            if group is not None and group.state is GroupState.PURGING:
                await _write(connection, replace(group, state=GroupState.DELETED), emptied=True)
                await connection.execute(statements.TOUCH_POOL, group.pool)

        await self._connections.transaction(work)


async def _found_or_inserted(connection: Connection, registration: GroupRegistration) -> tuple[Group, datetime, bool]:
    """The group's row, locked; the store's now; whether it was made just now."""
    for _ in range(_TRIES):
        if rows := await connection.fetch(statements.LOCK_GROUP, registration.group_id):
            return CODEC.group(rows[0][1:]), rows[0][0], False
        if rows := await connection.fetch(
            statements.INSERT_GROUP,
            registration.group_id,
            registration.owner,
            registration.shards,
            registration.pool,
            spec_to_json(registration.spec),
            registration.generation,
        ):
            return CODEC.group(rows[0][1:]), rows[0][0], True
    raise StoreUnavailable(f"the row of group {registration.group_id!r} comes and goes")


async def _locked(connection: Connection, group_id: str) -> Group:
    rows = await connection.fetch(statements.LOCK_GROUP, group_id)
    if not rows:
        raise UnknownGroup(group_id)
    return CODEC.group(rows[0][1:])


async def _write(connection: Connection, group: Group, *, emptied: bool = False) -> Group:
    """Writes the row under the next change; the store works out the times of state and emptiness."""
    change = await connection.fetchval(statements.NEXT_CHANGE)
    row = await connection.fetchrow(
        statements.WRITE_GROUP,
        group.group_id,
        group.owner,
        group.shards,
        group.pool,
        spec_to_json(group.spec),
        group.generation,
        GROUP_STATE_CODES[group.state],
        emptied,
        change,
    )
    return CODEC.group(row)
