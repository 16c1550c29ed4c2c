"""What kopf calls. A handler parses, makes one call, and answers nothing."""

from __future__ import annotations

from typing import Any, Protocol, Self

import kopf

from durable_timer.models.resource import Resource


class Desk(Protocol):
    """Whoever is told of resources (`reconcile.core.Core`)."""

    def saw(self, resource: Resource) -> None: ...

    def deleted(self, resource: Resource) -> None: ...

    async def reconciled(self, resource: Resource) -> None: ...


class Memo:
    """What kopf hands to each handler: one for all objects, where kopf would copy it for each."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def __copy__(self) -> Self:
        return self


async def observe(memo: Memo, event: kopf.RawEvent, **_: Any) -> None:
    """Every event of an object, its own status and annotations included, goes to the desk."""
    resource = Resource.parse(event["object"])
    if event["type"] == "DELETED":
        memo.desk.deleted(resource)
    else:
        memo.desk.saw(resource)


async def reconcile(memo: Memo, body: kopf.Body, **_: Any) -> None:
    """A spec that is new to kopf, or to this process: kopf notes it as handled after it was reconciled."""
    await memo.desk.reconciled(Resource.parse(body))
