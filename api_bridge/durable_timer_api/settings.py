"""The numbers of a bridge."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from durable_timer_api.tls import TlsFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeSettings:
    """Set by the composition root, which holds them against `defaults.md`."""

    request_timeout: timedelta = timedelta(seconds=10)
    """A request not answered by then is answered 504."""

    keep_alive: timedelta = timedelta(seconds=75)
    """An idle connection is closed after this."""

    tls: TlsFiles | None = None
    """What HTTPS is served with; None for plain HTTP."""

    groups_interval: timedelta = timedelta(seconds=1)
    """Between two reads of what changed among the groups."""

    groups_reread_interval: timedelta = timedelta(seconds=30)
    """Between two reads of all groups."""

    groups_stale_after: timedelta = timedelta(seconds=2)
    """Without a read of groups for this long, requests are answered 503."""

    loop_stuck_after: timedelta = timedelta(seconds=10)
    """`/livez` fails when the bridge's loop has not turned for this long."""
