"""Alembic's entry: runs on the connection, and inside the transaction, that `migrate` hands over."""

from __future__ import annotations

from alembic import context

from durable_timer.stores.sql.migrate import VERSION_TABLE
from durable_timer.stores.sql.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=True,
)
context.run_migrations()
