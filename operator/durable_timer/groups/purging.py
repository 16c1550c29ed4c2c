"""Deletes the timers of a group that is purging, in pieces."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from durable_timer.stores.base import Store

PIECE: Final = 1000
"""Timers of one call."""

LATE_CREATES: Final = timedelta(seconds=2)
"""How long a bridge may not have seen yet that a group is purging."""


def quiet_after(store: Store, request_timeout: timedelta) -> timedelta:
    """How long after the mark a create may still be on its way from a bridge whose requests may take that long."""
    return timedelta(0) if store.capabilities.exclusive else LATE_CREATES + request_timeout


async def purge(store: Store, group_id: str, quiet_in: timedelta, deleted: Callable[[int], None]) -> None:
    """Deletes until a pass that began after `quiet_in` found nothing, then marks the group as emptied.

    The group has been marked as purging before. `deleted` is told of each piece.

    Raises:
        StoreError: To be begun again; what was deleted stays deleted.
    """
    loop = asyncio.get_running_loop()
    quiet_from = loop.time() + quiet_in.total_seconds()
    while True:
        began = loop.time()
        piece = await store.purge_group(group_id, PIECE)
        deleted(piece)
        if piece == 0 and began >= quiet_from:
            break
        if piece == 0:
            await asyncio.sleep(max(0.0, quiet_from - began))
    await store.finish_purge(group_id)
