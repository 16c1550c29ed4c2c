"""PostgreSQL: vacuum and analyze the timers by a twentieth, not a fifth, of the table (decision 0012)."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Sets storage parameters; nothing to do on other databases."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "ALTER TABLE timers SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05)"
        )
