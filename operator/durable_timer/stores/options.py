"""What a program may settle about the stores it opens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """`statement_timeout` bounds each statement on the server; a call ends half a second after it at the latest.

    `connections` bounds the pool, the connection for wake-ups not counted. `application_name` is what the database's
    administrator sees. An embedded store has no use for the latter two.
    """

    statement_timeout: timedelta = timedelta(seconds=5)
    connections: int = 10
    application_name: str = "durable-timer"
