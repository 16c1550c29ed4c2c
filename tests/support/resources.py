"""What doubles of `reconcile.base.ResourceApi` share: objects under the API server's rules about uids and versions."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from pydantic import JsonValue

from durable_timer.errors import KubeConflict, KubeGone
from durable_timer.models.resource import Resource, ResourceKey, ResourceKind


class KeptObjects:
    """Objects by key, each write a new version; `writes` counts those of the reconcilers."""

    def __init__(self) -> None:
        self.objects: dict[ResourceKey, Resource] = {}
        self.writes: Counter[str] = Counter()
        self._version = 0

    async def get(self, kind: ResourceKind, namespace: str, name: str) -> Resource | None:
        return self.objects.get(ResourceKey(kind, namespace, name))

    async def write_status(self, resource: Resource, status: Mapping[str, JsonValue]) -> Resource | None:
        if status == resource.status:
            return None
        present = self._present(resource)
        self.writes["status"] += 1
        return self._keep(replace(present, status=dict(status)))

    def _present(self, resource: Resource) -> Resource:
        known = self.objects.get(resource.key)
        if known is None or known.uid != resource.uid:
            raise KubeGone(str(resource.key))
        if known.resource_version != resource.resource_version:
            raise KubeConflict(str(resource.key))
        return known

    def _keep(self, resource: Resource) -> Resource:
        self._version += 1
        kept = replace(resource, resource_version=str(self._version))
        self.objects[kept.key] = kept
        return kept
