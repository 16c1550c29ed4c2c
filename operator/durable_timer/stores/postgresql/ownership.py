"""Members and shards: who lives, who owns what."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from durable_timer.models.ownership import Assignment, BeatAnswer, Claim, Member, MemberReport, Shard
from durable_timer.stores.base import DRAIN_KEPT
from durable_timer.stores.postgresql import statements
from durable_timer.stores.postgresql.connections import Connection, Connections
from durable_timer.stores.postgresql.keyed import claim_columns
from durable_timer.stores.postgresql.wakeups import WakeUps
from durable_timer.stores.sql import documents, rows


class Members:
    """The calls of `Store` about members: conditional writes of a single row each."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def join(self, member: Member) -> None:
        """See `Store.join`."""
        await self._connections.fetch(
            statements.JOIN,
            member.incarnation,
            member.name,
            member.pool,
            member.host,
            member.beat,
            member.draining,
            documents.report_to_json(member.report),
        )

    async def beat(
        self, incarnation: str, counter: int, *, draining: bool, report: MemberReport | None
    ) -> BeatAnswer | None:
        """See `Store.beat`."""
        text = None if report is None else documents.report_to_json(report)
        found = await self._connections.fetch(statements.BEAT, incarnation, counter, draining, text)
        if not found:
            return None
        members = sorted((rows.member(row[1:]) for row in found), key=lambda member: member.incarnation)
        return BeatAnswer(str(found[0][0]), tuple(members))

    async def declare_dead(self, incarnation: str, counter_seen: int) -> bool:
        """See `Store.declare_dead`."""

        async def work(connection: Connection) -> bool:
            await connection.execute(statements.DECLARE_DEAD, incarnation, counter_seen)
            return not await connection.fetch(statements.LIVES, incarnation)

        return await self._connections.transaction(work)

    async def leave(self, incarnation: str) -> None:
        """See `Store.leave`."""
        await self._connections.fetch(statements.LEAVE, incarnation)
        await self._connections.fetch(statements.FORGET_DEAD)

    async def members(self, pool: str) -> list[Member]:
        """See `Store.members`."""
        return [rows.member(row) for row in await self._connections.fetch(statements.MEMBERS, pool)]


class Shards:
    """The calls of `Store` about shards. All lock shard rows in key order, and the pool's row after them."""

    def __init__(self, connections: Connections, wakeups: WakeUps) -> None:
        self._connections = connections
        self._wakeups = wakeups

    async def shards(self, pool: str) -> tuple[list[Shard], str]:
        """See `Store.shards`."""
        found = await self._connections.fetch(statements.SHARDS, pool)
        return [rows.shard(row) for _, *row in found if row[0] is not None], str(found[0][0])

    async def claim(self, claims: Sequence[Claim], me: str) -> list[int | None]:
        """See `Store.claim`."""
        epochs: list[int | None] = [None] * len(claims)
        for place, epoch in await self._connections.fetch(statements.CLAIM, *claim_columns(claims), me, DRAIN_KEPT):
            epochs[place] = epoch
        return epochs

    async def release(self, claims: Sequence[Claim], me: str, until: timedelta) -> list[bool]:
        """See `Store.release`."""
        released = [False] * len(claims)
        for (place,) in await self._connections.fetch(statements.RELEASE, *claim_columns(claims), me, until):
            released[place] = True
            self._wakeups.shards(claims[place].group_id, (claims[place].shard,))
        return released

    async def raise_term(self, pool: str, holder: str) -> int:
        """See `Store.raise_term`."""

        async def work(connection: Connection) -> int:
            await connection.execute(statements.LOCK_SHARDS, pool)
            term: int = await connection.fetchval(statements.RAISE_TERM, pool, holder)
            await connection.execute(statements.STAMP_TERM, pool, term)
            return term

        return await self._connections.transaction(work)

    async def assign(self, pool: str, term: int, assignments: Sequence[Assignment]) -> int:
        """See `Store.assign`."""
        [[changed]] = await self._connections.fetch(
            statements.ASSIGN,
            [assignment.group_id for assignment in assignments],
            [assignment.shard for assignment in assignments],
            [assignment.assigned_to for assignment in assignments],
            pool,
            term,
        )
        return int(changed)
