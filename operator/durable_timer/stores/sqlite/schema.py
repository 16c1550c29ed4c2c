"""The schema of a file, brought to this release's by the migrations that all SQL stores share."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from durable_timer.stores.sql.migrate import check, upgrade
from durable_timer.stores.sqlite.session import meaning


def migrate(path: Path) -> None:
    """Brings the file's schema to this release's, in one transaction. The caller holds the file's lock.

    Raises: SchemaVersionError, StoreUnavailable, StoreFull.
    """
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)), connect_args={"isolation_level": None}, poolclass=sa.NullPool
    )
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            check(upgrade(connection))
            connection.commit()
    except sa.exc.DBAPIError as error:
        raise meaning(path, error.orig) from error
    finally:
        engine.dispose()
