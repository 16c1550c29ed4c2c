"""The tables of the first release."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None

KEY = sa.Text(collation="C").with_variant(sa.Text(), "sqlite")
INSTANT = sa.TIMESTAMP(timezone=True).with_variant(sa.BigInteger(), "sqlite")
LABELS = JSONB().with_variant(sa.Text(), "sqlite")


def upgrade() -> None:
    """Makes all tables, and the counter row that registrations raise."""
    _groups()
    _ownership()
    _timers()
    _timer_indexes()


def _groups() -> None:
    op.create_table(
        "timer_groups",
        sa.Column("group_id", KEY, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("shards", sa.Integer, nullable=False),
        sa.Column("pool", KEY, nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("state", sa.SmallInteger, nullable=False),
        sa.Column("state_since", INSTANT, nullable=False),
        sa.Column("emptied_at", INSTANT),
        sa.Column("change", sa.BigInteger, nullable=False),
    )
    op.create_index("timer_groups_change", "timer_groups", ["change"])
    op.create_index("timer_groups_pool", "timer_groups", ["pool"])
    counters = op.create_table(
        "timer_counters",
        sa.Column("name", KEY, primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(counters, [{"name": "change", "value": 0}])


def _ownership() -> None:
    op.create_table(
        "timer_pools",
        sa.Column("pool", KEY, primary_key=True),
        sa.Column("term", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("holder", sa.Text),
        sa.Column("shards_token", sa.BigInteger, nullable=False, server_default="0"),
    )
    op.create_table(
        "timer_members",
        sa.Column("incarnation", KEY, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("pool", KEY, nullable=False),
        sa.Column("host", sa.Text),
        sa.Column("beat", sa.BigInteger, nullable=False),
        sa.Column("draining", sa.Boolean, nullable=False),
        sa.Column("dead", sa.Boolean, nullable=False),
        sa.Column("dead_since", INSTANT),
        sa.Column("report", sa.Text, nullable=False),
    )
    op.create_index("timer_members_pool", "timer_members", ["pool"])
    op.create_table(
        "timer_shards",
        sa.Column("group_id", KEY, primary_key=True),
        sa.Column("shard", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("owner", sa.Text),
        sa.Column("assigned_to", sa.Text),
        sa.Column("plan_term", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("drains", sa.Text, nullable=False, server_default="[]"),
    )


def _timers() -> None:
    op.create_table(
        "timers",
        sa.Column("due_at", INSTANT, nullable=False),
        sa.Column("execute_at", INSTANT, nullable=False),
        sa.Column("uid", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.Column("shard", sa.Integer, nullable=False),
        sa.Column("occurrence", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("state", sa.SmallInteger, nullable=False),
        sa.Column("suspended", sa.SmallInteger, nullable=False),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sa.Column("group_id", KEY, primary_key=True),
        sa.Column("timer_id", KEY, primary_key=True),
        sa.Column("callback_url", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("content_type", sa.Text),
        sa.Column("payload", sa.LargeBinary),
        sa.Column("callback_method", sa.Text),
        sa.Column("callback_format", sa.Text),
        sa.Column("headers", sa.Text),
        sa.Column("labels", LABELS),
        sa.Column("retry_policy", sa.Text),
        sa.Column("schedule", sa.Text),
        sa.Column("managed_by", sa.Text),
        sa.Column("traceparent", sa.Text),
        sa.Column("callback_timeout", sa.BigInteger),
        sa.Column("starting_deadline", sa.BigInteger),
        sa.Column("run", sa.BigInteger),
        sa.Column("taken_epoch", sa.BigInteger),
        sa.Column("taken_at", INSTANT),
        sa.Column("first_attempt_at", INSTANT),
        sa.Column("executed_at", INSTANT),
        sa.Column("last_run_at", INSTANT),
        sa.Column("last_status", sa.Integer),
        sa.Column("last_outcome", sa.Text),
        sa.Column("last_error", sa.Text),
    )


def _timer_indexes() -> None:
    for name, columns, where in (
        ("timers_due", ["group_id", "shard", "due_at", "timer_id"], "state = 0 AND suspended != 1"),
        ("timers_suspended", ["group_id", "due_at", "timer_id"], "state = 0 AND suspended = 1"),
        ("timers_running", ["group_id", "shard", "updated_at"], "state = 1"),
        ("timers_finished", ["group_id", "state", "executed_at", "timer_id"], "state >= 2"),
    ):
        op.create_index(name, "timers", columns, postgresql_where=sa.text(where), sqlite_where=sa.text(where))
