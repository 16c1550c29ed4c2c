"""Makes timers that a Timer resource declared ordinary ones."""

from __future__ import annotations

from typing import Final

from durable_timer.models.checks import RESERVED_ID_PREFIX
from durable_timer.models.page import Position, TimerFilter
from durable_timer.models.results import Target
from durable_timer.models.timer import TimerChange
from durable_timer.stores.base import Store

PAGE: Final = 500
"""Timers of one read."""


async def release(store: Store, group_id: str, namespace: str, name: str | None = None) -> int:
    """Releases the timers of the namespace (or the one of that name) from their resources; returns how many.

    They go on as they are, and REST may change and delete them from then on.

    Raises:
        StoreError: To be begun again; what was released stays released.
    """
    prefix = f"{RESERVED_ID_PREFIX}{namespace}:"
    where = TimerFilter(id_prefix=prefix if name is None else prefix + name)
    released = 0
    after: Position | None = None
    while True:
        page = await store.list(group_id, where, limit=PAGE, after=after, payloads=False)
        for timer in page.timers:
            if timer.managed_by is not None and (name is None or timer.timer_id == prefix + name):
                change = TimerChange(declared=(timer.fingerprint, None))
                written = await store.update(group_id, Target(timer.timer_id), change, managed=True)
                released += written.refusal is None
        after = page.end
        if after is None:
            return released
