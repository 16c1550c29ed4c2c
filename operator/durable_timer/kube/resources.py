"""Our objects in the API: read whole, written as little as possible, only while leading and never over another's write."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, Literal

import structlog
from pydantic import JsonValue

from durable_timer.errors import KubeError, NotLeading
from durable_timer.kube.client import EVENT, OURS, KubeClient
from durable_timer.kube.difference import difference
from durable_timer.models.instants import format_instant
from durable_timer.models.resource import FINALIZER, GROUP, VERSION, Resource, ResourceKind

EventType = Literal["Normal", "Warning"]

EVENT_TIMEOUT: Final = 3.0
"""Seconds that an Event may take: it is only news."""

NOTE_MAX: Final = 1024
"""Bytes of an Event's note (https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/)."""

_NAME_KEPT: Final = 230
_REPORTER_MAX: Final = 128

log = structlog.get_logger(__name__)


class Resources:
    """TimerGroups and Timers. Every method but `event` raises KubeUnavailable and KubeForbidden.

    Those that write raise NotLeading, and send nothing, when `may_write` says no; KubeConflict, when the object was
    written since `resource` was read; KubeGone, when it is not there any more. Where there is nothing to write, none asks
    whether it may.
    """

    def __init__(self, client: KubeClient, may_write: Callable[[], bool], reporter: str | None = None) -> None:
        self._client = client
        self._may_write = may_write
        self._reporter = (reporter or socket.gethostname())[:_REPORTER_MAX]

    async def list(self, kind: ResourceKind, namespace: str | None) -> list[Resource]:
        """All objects of a kind in a namespace, or in all (None), at one moment: complete, or an error."""
        return [Resource.parse(body) for body in await self._client.list(OURS[kind], namespace)]

    async def get(self, kind: ResourceKind, namespace: str, name: str) -> Resource | None:
        """The object as it is now; None when it is not there."""
        body = await self._client.get(OURS[kind], namespace, name)
        return Resource.parse(body) if body is not None else None

    async def write_status(self, resource: Resource, status: Mapping[str, JsonValue]) -> Resource | None:
        """Makes `status` the whole status; answers the object as written, None when it is so already."""
        patch = difference(resource.status, status)
        if not patch:
            return None
        return await self._patch(resource, {"status": patch}, status=True)

    async def set_finalizer(self, resource: Resource, *, present: bool) -> Resource:
        """Puts our finalizer on the object, or takes it off, which lets a deletion end. Others' stay as they are."""
        if (FINALIZER in resource.finalizers) == present:
            return resource
        others = [name for name in resource.finalizers if name != FINALIZER]
        return await self._patch(resource, {"metadata": {"finalizers": [*others, FINALIZER] if present else others}})

    async def annotate(self, resource: Resource, annotations: Mapping[str, str | None]) -> Resource:
        """Sets annotations; None removes one."""
        changed = {name: text for name, text in annotations.items() if resource.annotations.get(name) != text}
        if not changed:
            return resource
        return await self._patch(resource, {"metadata": {"annotations": changed}})

    async def event(self, resource: Resource, type_: EventType, reason: str, message: str) -> None:
        """Tells people of a transition (`kubectl describe`). Never raises; told while leading, and once at most."""
        if not self._may_write():
            return
        try:
            await self._client.create(
                EVENT, resource.namespace, self._event(resource, type_, reason, message), EVENT_TIMEOUT
            )
        except KubeError as error:
            log.warning("an event was not told", object=str(resource.key), reason=reason, error=str(error))

    async def _patch(
        self, resource: Resource, patch: Mapping[str, Mapping[str, object]], *, status: bool = False
    ) -> Resource:
        seen = {"resourceVersion": resource.resource_version, "uid": resource.uid}
        body = {**patch, "metadata": {**patch.get("metadata", {}), **seen}}
        if not self._may_write():
            raise NotLeading(f"not leading: {resource.key} stays as it is")
        kind = OURS[resource.kind]
        return Resource.parse(await self._client.patch(kind, resource.namespace, resource.name, body, status=status))

    def _event(self, resource: Resource, type_: EventType, reason: str, message: str) -> dict[str, object]:
        return {
            "metadata": {
                "name": f"{resource.name[:_NAME_KEPT].rstrip('.-')}.{secrets.token_hex(8)}",
                "namespace": resource.namespace,
            },
            "eventTime": format_instant(datetime.now(UTC)),
            "type": type_,
            "reason": reason,
            "action": "Reconcile",
            "note": message.encode()[:NOTE_MAX].decode(errors="ignore"),
            "reportingController": f"{GROUP}/operator",
            "reportingInstance": self._reporter,
            "regarding": {
                "apiVersion": f"{GROUP}/{VERSION}",
                "kind": resource.kind.value,
                "namespace": resource.namespace,
                "name": resource.name,
                "uid": resource.uid,
                "resourceVersion": resource.resource_version,
            },
        }
