"""Leases as an API server keeps them, in memory: resource versions, answers that come late, or never."""

import asyncio
import itertools
import random
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from durable_timer.errors import KubeConflict, KubeGone, KubeUnavailable
from durable_timer.kube.client import ApiKind, Body, KubeClient


class LeaseServer:
    """The one Lease. `away` makes it answer nobody."""

    def __init__(self, rng: random.Random) -> None:
        self.lease: Body | None = None
        self.away = False
        self.lossy = 0.0
        self.writes = 0
        self._rng = rng
        self._versions = itertools.count(1)

    def delete(self) -> None:
        self.lease = None

    def write(self, body: Mapping[str, Any]) -> Body:
        """Writes as anybody may, without a precondition."""
        written = deepcopy(dict(body))
        written["metadata"] = {**written["metadata"], "resourceVersion": str(next(self._versions))}
        self.lease = written
        self.writes += 1
        return deepcopy(written)

    @property
    def holder(self) -> str | None:
        return self.lease["spec"].get("holderIdentity") if self.lease is not None else None

    async def travel(self) -> None:
        """One way of a request or of an answer; it may be lost."""
        await asyncio.sleep(self._rng.expovariate(100))
        if self.away or self._rng.random() < self.lossy:
            await asyncio.sleep(self._rng.choice([0.0, 30.0]))
            raise KubeUnavailable("lost")


class LeaseClient(KubeClient):
    """One process's client of it."""

    def __init__(self, server: LeaseServer) -> None:
        self._server = server

    async def get(self, kind: ApiKind, namespace: str, name: str, timeout: float = 10.0) -> Body | None:
        await self._server.travel()
        lease = deepcopy(self._server.lease)
        await self._server.travel()
        return lease

    async def create(self, kind: ApiKind, namespace: str, body: Mapping[str, Any], timeout: float = 10.0) -> Body:
        await self._server.travel()
        if self._server.lease is not None:
            raise KubeConflict("there is one")
        written = self._server.write(body)
        await self._server.travel()
        return written

    async def replace(self, kind: ApiKind, namespace: str, body: Mapping[str, Any], timeout: float = 10.0) -> Body:
        await self._server.travel()
        present = self._server.lease
        if present is None:
            raise KubeGone("there is none")
        if present["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
            raise KubeConflict("it was written since")
        written = self._server.write(body)
        await self._server.travel()
        return written
