"""`durable-timer` as the release after this one: its schema is newer by one revision, which nothing uses yet.

Usage: python -m faults.next_release COMMAND …
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Final

from durable_timer.cli import main
from durable_timer.stores.sql import migrate

NEXT: Final = migrate.SCHEMA + 1

REVISION: Final = f'''"""Expands: a column and a table that the release after uses."""

import sqlalchemy as sa
from alembic import op

revision = "{NEXT:04}"
down_revision = "{NEXT - 1:04}"


def upgrade():
    op.add_column("timers", sa.Column("note", sa.Text, nullable=False, server_default=""))
    op.create_index("timers_note", "timers", ["group_id", "note"], postgresql_where=sa.text("note != ''"))
    op.create_table("timer_notes", sa.Column("note", sa.Text, primary_key=True))
'''


def become_next(scripts: Path) -> None:
    """Makes this process one of the next release, whose migrations are put into an empty folder."""
    shutil.copytree(Path(migrate.__file__).parent / "migrations", scripts)
    (scripts / "versions" / f"{NEXT:04}_next.py").write_text(REVISION)
    migrate._SCRIPTS = scripts  # type: ignore[misc] # noqa: SLF001 - the release is not made yet
    migrate.SCHEMA, migrate.NEWEST = NEXT, NEXT + 1  # type: ignore[misc]
    migrate.upgrade.__defaults__ = (NEXT,)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        become_next(Path(folder) / "migrations")
        main()
