"""One Kubernetes object of ours, as the API server said it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple, Self, assert_never

from pydantic import JsonValue

from durable_timer.models.instants import parse_instant

GROUP: Final = "durabletimer.dev"
VERSION: Final = "v1alpha1"

FINALIZER: Final = f"{GROUP}/finalizer"
"""On an object whose deletion has to delete something in the store first."""

ADOPT_FROM: Final = f"{GROUP}/adopt-from"
"""On a TimerGroup: the owner that its group id is taken over from."""

RUN_REQUESTED: Final = f"{GROUP}/run-requested-at"
"""On a Timer: it is run once for each new value."""

REDRIVE_REQUESTED: Final = f"{GROUP}/redrive-requested-at"
"""On a Timer: its failed occurrence is redriven once for each new value."""


class ResourceKind(StrEnum):
    """The kinds of `durabletimer.dev`."""

    TIMER_GROUP = "TimerGroup"
    TIMER = "Timer"

    @property
    def plural(self) -> str:
        match self:
            case ResourceKind.TIMER_GROUP:
                return "timergroups"
            case ResourceKind.TIMER:
                return "timers"
            case _:
                assert_never(self)


class ResourceKey(NamedTuple):
    """An object by its name; a namesake that is made later has the same key."""

    kind: ResourceKind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind.plural}/{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Resource:
    """A TimerGroup or a Timer at one resource version. `spec` and `status` are as stored, not checked."""

    kind: ResourceKind
    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    finalizers: tuple[str, ...]
    deleting: bool
    created: datetime
    spec: Mapping[str, JsonValue]
    status: Mapping[str, JsonValue]
    deletion_requested: datetime | None = None
    """When its deletion was asked for, by the API server's clock."""

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Self:
        """Reads an object as the API server sends it, with `kind` and whole `metadata`.

        Raises:
            KeyError, ValueError: It is no object of ours as an API server would send it.
        """
        metadata = body["metadata"]
        deleted = metadata.get("deletionTimestamp")
        return cls(
            kind=ResourceKind(body["kind"]),
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            generation=metadata["generation"],
            resource_version=metadata["resourceVersion"],
            labels=dict(metadata.get("labels") or {}),
            annotations=dict(metadata.get("annotations") or {}),
            finalizers=tuple(metadata.get("finalizers") or ()),
            deleting=deleted is not None,
            created=parse_instant(metadata["creationTimestamp"]),
            spec=dict(body.get("spec") or {}),
            status=dict(body.get("status") or {}),
            deletion_requested=parse_instant(deleted) if deleted is not None else None,
        )

    @property
    def key(self) -> ResourceKey:
        return ResourceKey(self.kind, self.namespace, self.name)
