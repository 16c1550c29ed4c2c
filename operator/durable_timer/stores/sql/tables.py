"""The tables of the SQL stores, as SQLAlchemy Core metadata: what the migrations make, and what a test holds them to.

Names begin with `timer` because the database may be one that other programs use as well. Enums are small numbers
(`rows` has the codes), durations are microseconds, and documents that no statement looks into are JSON text. Keys sort
as bytes (COLLATE "C"; SQLite's own collation does so anyway), so that pages and lock orders are the same everywhere.
Neither groups nor shards are referred to by foreign keys: they are never removed, and a key would put a lock on the
group's row into each create.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

metadata: Final = sa.MetaData()

Key: Final = sa.Text(collation="C").with_variant(sa.Text(), "sqlite")
"""Compared and sorted as bytes."""

Instant: Final = sa.TIMESTAMP(timezone=True).with_variant(sa.BigInteger(), "sqlite")
"""A time in microseconds: `timestamptz`, or microseconds since 1970 in UTC where there is no such type."""

Micros: Final = sa.BigInteger()
"""A duration in microseconds."""

Json: Final = sa.Text()
"""A document that is written and read whole."""

Labels: Final = JSONB().with_variant(sa.Text(), "sqlite")
"""A flat JSON object of strings that list filters look into."""

groups: Final = sa.Table(
    "timer_groups",
    metadata,
    sa.Column("group_id", Key, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("shards", sa.Integer, nullable=False),
    sa.Column("pool", Key, nullable=False),
    sa.Column("spec", Json, nullable=False),
    sa.Column("generation", sa.BigInteger, nullable=False),
    sa.Column("state", sa.SmallInteger, nullable=False),
    sa.Column("state_since", Instant, nullable=False),
    sa.Column("emptied_at", Instant),
    sa.Column("change", sa.BigInteger, nullable=False),
    sa.Index("timer_groups_change", "change"),
    sa.Index("timer_groups_pool", "pool"),
)

counters: Final = sa.Table(
    "timer_counters",
    metadata,
    sa.Column("name", Key, primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)
"""One row, `change`: raised in the transaction that writes a group, so that numbers commit in order."""

pools: Final = sa.Table(
    "timer_pools",
    metadata,
    sa.Column("pool", Key, primary_key=True),
    sa.Column("term", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("holder", sa.Text),
    sa.Column("shards_token", sa.BigInteger, nullable=False, server_default="0"),
)
"""The planner's term, and the number of writes to the pool's shard rows (`BeatAnswer.shards_token`)."""

members: Final = sa.Table(
    "timer_members",
    metadata,
    sa.Column("incarnation", Key, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("pool", Key, nullable=False),
    sa.Column("host", sa.Text),
    sa.Column("beat", sa.BigInteger, nullable=False),
    sa.Column("draining", sa.Boolean, nullable=False),
    sa.Column("dead", sa.Boolean, nullable=False),
    sa.Column("dead_since", Instant),
    sa.Column("report", Json, nullable=False),
    sa.Index("timer_members_pool", "pool"),
)

shards: Final = sa.Table(
    "timer_shards",
    metadata,
    sa.Column("group_id", Key, primary_key=True),
    sa.Column("shard", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("epoch", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("owner", sa.Text),
    sa.Column("assigned_to", sa.Text),
    sa.Column("plan_term", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("drains", Json, nullable=False, server_default="[]"),
)

timers: Final = sa.Table(
    "timers",
    metadata,
    # Fixed widths first, wide alignment before narrow: no padding, and the columns that every statement tests are near
    # the row's start.
    sa.Column("due_at", Instant, nullable=False),
    sa.Column("execute_at", Instant, nullable=False),
    sa.Column("uid", sa.BigInteger, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("updated_at", Instant, nullable=False),
    sa.Column("shard", sa.Integer, nullable=False),
    sa.Column("occurrence", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("state", sa.SmallInteger, nullable=False),
    sa.Column("suspended", sa.SmallInteger, nullable=False),
    sa.Column("cancel_requested", sa.Boolean, nullable=False),
    sa.Column("group_id", Key, primary_key=True),
    sa.Column("timer_id", Key, primary_key=True),
    sa.Column("callback_url", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.LargeBinary, nullable=False),
    sa.Column("content_type", sa.Text),
    sa.Column("payload", sa.LargeBinary),
    sa.Column("callback_method", sa.Text),
    sa.Column("callback_format", sa.Text),
    sa.Column("headers", Json),
    sa.Column("labels", Labels),
    sa.Column("retry_policy", Json),
    sa.Column("schedule", Json),
    sa.Column("managed_by", Json),
    sa.Column("traceparent", sa.Text),
    sa.Column("callback_timeout", Micros),
    sa.Column("starting_deadline", Micros),
    sa.Column("run", sa.BigInteger),
    sa.Column("taken_epoch", sa.BigInteger),
    sa.Column("taken_at", Instant),
    sa.Column("first_attempt_at", Instant),
    sa.Column("executed_at", Instant),
    sa.Column("last_run_at", Instant),
    sa.Column("last_status", sa.Integer),
    sa.Column("last_outcome", sa.Text),
    sa.Column("last_error", sa.Text),
)

_PENDING: Final = timers.c.state == sa.literal_column("0")
_SUSPENDED: Final = timers.c.suspended == sa.literal_column("1")
_NOT_SUSPENDED: Final = timers.c.suspended != sa.literal_column("1")
_RUNNING: Final = timers.c.state == sa.literal_column("1")
_FINISHED: Final = timers.c.state >= sa.literal_column("2")

due_index: Final = sa.Index(
    "timers_due",
    timers.c.group_id,
    timers.c.shard,
    timers.c.due_at,
    timers.c.timer_id,
    postgresql_where=sa.and_(_PENDING, _NOT_SUSPENDED),
    sqlite_where=sa.and_(_PENDING, _NOT_SUSPENDED),
)
"""The queue: take, next due, lists by due."""

suspended_index: Final = sa.Index(
    "timers_suspended",
    timers.c.group_id,
    timers.c.due_at,
    timers.c.timer_id,
    postgresql_where=sa.and_(_PENDING, _SUSPENDED),
    sqlite_where=sa.and_(_PENDING, _SUSPENDED),
)
"""The pending timers outside the queue, for lists by due."""

running_index: Final = sa.Index(
    "timers_running",
    timers.c.group_id,
    timers.c.shard,
    timers.c.updated_at,
    postgresql_where=_RUNNING,
    sqlite_where=_RUNNING,
)
"""Sweep, in the order in which rows were taken, so that it can begin late and reads the table from one end to the other;
and lists of what is running, which are few."""

finished_index: Final = sa.Index(
    "timers_finished",
    timers.c.group_id,
    timers.c.state,
    timers.c.executed_at,
    timers.c.timer_id,
    postgresql_where=_FINISHED,
    sqlite_where=_FINISHED,
)
"""Retention, and lists by executed_at."""
