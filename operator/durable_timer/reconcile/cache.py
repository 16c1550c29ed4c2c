"""The resources as the watch said last."""

from __future__ import annotations

from collections import defaultdict

from durable_timer.models.resource import Resource, ResourceKey, ResourceKind


class ResourceCache:
    """What the controller heard, and the operator's own writes, by key. Holds the newest version of each."""

    def __init__(self) -> None:
        self._resources: defaultdict[ResourceKind, dict[ResourceKey, Resource]] = defaultdict(dict)

    def get(self, key: ResourceKey) -> Resource | None:
        return self._resources[key.kind].get(key)

    def of_kind(self, kind: ResourceKind) -> tuple[Resource, ...]:
        """All of a kind, in the order in which they were first seen."""
        return tuple(self._resources[kind].values())

    def put(self, resource: Resource) -> bool:
        """Keeps a resource unless that version of it, or a newer one, is there; whether it was kept.

        Newer may be one that was made under its name since: what is still heard of a deleted object does not hide it.
        """
        known = self.get(resource.key)
        if known is not None and _version(known) >= _version(resource) + (known.uid != resource.uid):
            return False
        self._resources[resource.key.kind][resource.key] = resource
        return True

    def drop(self, key: ResourceKey, uid: str | None = None) -> bool:
        """Forgets a resource; with `uid`, only that object and not one made under its name since."""
        known = self.get(key)
        if known is None or (uid is not None and known.uid != uid):
            return False
        del self._resources[key.kind][key]
        return True


def _version(resource: Resource) -> int:
    """Of one kind in one cluster these grow; what is no number counts as oldest."""
    return int(resource.resource_version) if resource.resource_version.isdecimal() else -1
