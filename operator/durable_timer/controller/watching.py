"""Runs kopf inside a process that is not its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import kopf

from durable_timer.controller.handlers import Desk, Memo
from durable_timer.controller.registry import build_registry, build_settings
from durable_timer.errors import KubeUnavailable


async def watch(desk: Desk, namespaces: Sequence[str], started: Callable[[], None]) -> None:
    """Tells `desk` of all resources, in these namespaces or (none given) in the whole cluster, until cancelled.

    `started` is called when kopf has taken the process's signals for itself: it gives them back. When it ends, kopf
    cancels every task that began after this one: what else works in the process has to be stopped before.

    Raises:
        KubeUnavailable: kopf ended by itself. What kopf raises passes through.
    """
    before = asyncio.all_tasks()
    tasks = await kopf.spawn_tasks(
        registry=build_registry(),
        settings=build_settings(),
        memo=Memo(desk),
        namespaces=namespaces,
        clusterwide=not namespaces,
        standalone=True,
    )
    started()
    await kopf.run_tasks(tasks, ignored=before)
    raise KubeUnavailable("kopf does not watch any more")
