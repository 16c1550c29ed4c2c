"""What precedes an uninstallation: the operator stops, and nothing of ours keeps objects from being deleted.

A TimerGroup or Timer that wants its rows deleted carries a finalizer, which only a running operator removes. Once that is
gone for good the finalizer would hold the object, and with it its namespace, for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import structlog
from lightkube.generic_resource import create_namespaced_resource

from durable_timer.errors import KubeConflict, KubeError, KubeForbidden, KubeGone, KubeUnavailable
from durable_timer.kube.client import ApiKind, KubeClient
from durable_timer.kube.resources import Resources
from durable_timer.models.resource import FINALIZER, Resource, ResourceKind

DEPLOYMENT: Final[ApiKind] = create_namespaced_resource("apps", "v1", "Deployment", "deployments")
POD: Final[ApiKind] = create_namespaced_resource("", "v1", "Pod", "pods")

AT_ONCE: Final = 16
"""Objects that are written at the same time."""

AGAIN: Final = 1.0
"""Seconds between two looks, and before what failed is tried again."""

log = structlog.get_logger(__name__)


class Removal:
    """The steps, each of which can be repeated. `namespaces` are those that the operator serves; none: all."""

    def __init__(self, client: KubeClient, namespaces: Sequence[str]) -> None:
        self._client = client
        self._resources = Resources(client, may_write=lambda: True)
        self._namespaces: Sequence[str | None] = namespaces or (None,)
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def stop_operator(self, namespace: str, deployment: str, patience: float) -> bool:
        """Scales the Deployment to 0 and waits for its pods to be gone; False when some are still there after `patience`.

        A Deployment that is not there has no pods.

        Raises:
            KubeUnavailable, KubeForbidden: The operator may be running.
        """
        found = await self._client.get(DEPLOYMENT, namespace, deployment)
        if found is None:
            return True
        try:
            await self._client.scale(DEPLOYMENT, namespace, deployment, 0)
        except KubeGone:
            return True
        labels: dict[str, str] = found["spec"]["selector"]["matchLabels"]
        try:
            async with asyncio.timeout(patience):
                await self._none_left(namespace, labels)
        except TimeoutError:
            return False
        return True

    async def release(self) -> int:
        """Removes our finalizer from every object, until a look finds none; answers from how many.

        Objects that change meanwhile, and an API server that does not answer, are tried again for ever: bound it.

        Raises:
            KubeForbidden: The account lacks a right; the message names it.
        """
        released = 0
        while True:
            try:
                held = [resource for resource in await self._all() if FINALIZER in resource.finalizers]
                if not held:
                    return released
                done = sum(await asyncio.gather(*map(self._release, held)))
            except KubeUnavailable as error:
                log.warning("trying again", error=str(error))
                await asyncio.sleep(AGAIN)
                continue
            released += done
            if done < len(held):
                await asyncio.sleep(AGAIN)

    async def _all(self) -> list[Resource]:
        return [
            resource
            for kind in ResourceKind
            for namespace in self._namespaces
            for resource in await self._resources.list(kind, namespace)
        ]

    async def _release(self, resource: Resource) -> bool:
        async with self._slots:
            try:
                await self._resources.set_finalizer(resource, present=False)
            except (KubeConflict, KubeGone):
                return False
            except KubeForbidden:
                raise
            except KubeError as error:
                log.warning("a finalizer stays for now", object=str(resource.key), error=str(error))
                return False
            return True

    async def _none_left(self, namespace: str, labels: Mapping[str, str]) -> None:
        while True:
            try:
                pods = await self._client.list(POD, namespace)
            except KubeUnavailable as error:
                log.warning("trying again", error=str(error))
            else:
                if not any(labels.items() <= pod["metadata"].get("labels", {}).items() for pod in pods):
                    return
            await asyncio.sleep(AGAIN)
