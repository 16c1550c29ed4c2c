"""The way to the API server: which one, as whom, how long a call may take, and what its failures are called here."""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx2
from lightkube import AsyncClient, KubeConfig
from lightkube.core.exceptions import ApiError
from lightkube.core.exceptions import ConfigError as LightkubeConfigError
from lightkube.generic_resource import GenericNamespacedResource, create_namespaced_resource
from lightkube.types import PatchType
from msgspec import MsgspecError

from durable_timer.errors import (
    ConfigError,
    KubeConflict,
    KubeError,
    KubeForbidden,
    KubeGone,
    KubeRejected,
    KubeUnavailable,
    KubeUndefined,
)
from durable_timer.models.resource import GROUP, VERSION, ResourceKind

TIMEOUT: Final = 10.0
"""Seconds that a call may take in all, unless its caller gives it less."""

CONNECT_TIMEOUT: Final = 1.5
"""Seconds that a connection may take, and its TLS: less than any call's timeout, whose cancellation would leave the socket
of an unfinished handshake to the collector."""

LIST_TIMEOUT: Final = 60.0
"""Seconds that all pages of a list may take together."""

PAGE: Final = 500
"""Objects that are asked for at once in a list."""

NESTED: Final = 15_000
"""Calls that may be nested while JSON is read: an API server takes 10,000 levels, where Python reads fewer than 1,000."""

MANAGER: Final = "durable-timer"
"""Who wrote a field, in `metadata.managedFields`."""

ApiKind = type[GenericNamespacedResource]
Body = dict[str, Any]
"""An object as JSON has it."""

LEASE: Final[ApiKind] = create_namespaced_resource("coordination.k8s.io", "v1", "Lease", "leases")
SECRET: Final[ApiKind] = create_namespaced_resource("", "v1", "Secret", "secrets")
EVENT: Final[ApiKind] = create_namespaced_resource("events.k8s.io", "v1", "Event", "events")
OURS: Final[Mapping[ResourceKind, ApiKind]] = {
    kind: create_namespaced_resource(GROUP, VERSION, kind.value, kind.plural) for kind in ResourceKind
}

T = TypeVar("T")


class KubeClient:
    """Calls of the API, in the errors of this project. Every method raises KubeUnavailable and KubeForbidden.

    A kind that the API server does not serve is KubeUndefined, a sort of KubeUnavailable: its objects are not gone.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client: Any = client  # the overloads of its methods know no kinds that are made at run time

    async def get(self, kind: ApiKind, namespace: str, name: str, timeout: float = TIMEOUT) -> Body | None:
        """The object as it is in etcd now, or None where there is none."""
        try:
            return dict(await _answer(self._client.get(kind, name, namespace=namespace), timeout))
        except KubeGone:
            return None

    async def list(self, kind: ApiKind, namespace: str | None) -> list[Body]:
        """All objects of one namespace, or of all (None), at one moment: complete, or an error."""

        async def pages() -> list[Body]:
            listed = self._client.list(kind, namespace=namespace or "*", chunk_size=PAGE)
            return [dict(item) async for item in listed]

        return await _answer(pages(), LIST_TIMEOUT)

    async def create(self, kind: ApiKind, namespace: str, body: Mapping[str, Any], timeout: float = TIMEOUT) -> Body:
        """Makes an object. Raises: KubeConflict, when there is one of that name; KubeGone, KubeRejected."""
        return dict(await _answer(self._client.create(kind(**body), namespace=namespace), timeout))

    async def replace(self, kind: ApiKind, namespace: str, body: Mapping[str, Any], timeout: float = TIMEOUT) -> Body:
        """Writes a whole object over the one whose resource version it names.

        Raises: KubeConflict, when that was written since; KubeGone, KubeRejected.
        """
        name = body["metadata"]["name"]
        return dict(await _answer(self._client.replace(kind(**body), name, namespace=namespace), timeout))

    async def patch(
        self, kind: ApiKind, namespace: str, name: str, patch: Mapping[str, Any], *, status: bool = False
    ) -> Body:
        """Merges `patch` (RFC 7396) into an object, or into its status alone; answers the whole object.

        Raises: KubeConflict, when the patch names a resource version that is past; KubeGone, KubeRejected.
        """
        target = kind.Status if status else kind
        call = self._client.patch(target, name, dict(patch), namespace=namespace, patch_type=PatchType.MERGE)
        return dict(await _answer(call, TIMEOUT))

    async def scale(self, kind: ApiKind, namespace: str, name: str, replicas: int) -> None:
        """Says how many pods a workload is to have, and nothing else of it. Raises: KubeConflict, KubeGone."""
        wanted = {"spec": {"replicas": replicas}}
        call = self._client.patch(kind.Scale, name, wanted, namespace=namespace, patch_type=PatchType.MERGE)
        await _answer(call, TIMEOUT)


@asynccontextmanager
async def open_client(kubeconfig: Path | None = None, service_account: Path | None = None) -> AsyncIterator[KubeClient]:
    """A client until the block ends: as this pod's service account, else as the file that KUBECONFIG names says.

    `kubeconfig` names a file that is used instead, `service_account` a folder laid out as a pod has it. A token file is
    read anew when the API server refuses what it held. Proxies in the environment are not used.

    The process's recursion limit is raised to NESTED: one object that the API server took and that could not be read (a
    `payload` nested a thousand times, in 2 KB) would keep this client, and kopf beside it, from all objects of its kind.

    Raises:
        ConfigError: There is neither, or it cannot be used.
    """
    sys.setrecursionlimit(max(sys.getrecursionlimit(), NESTED))
    try:
        config = _config(kubeconfig, service_account).get()
        timeout = httpx2.Timeout(TIMEOUT, connect=CONNECT_TIMEOUT)
        client = AsyncClient(config, timeout=timeout, trust_env=False, field_manager=MANAGER)
    except (LightkubeConfigError, LookupError, OSError, ValueError, ssl.SSLError, MsgspecError) as error:
        raise ConfigError(
            f"no way to a Kubernetes API ({error}): run in a pod with a service account, or set KUBECONFIG"
        ) from error
    try:
        yield KubeClient(client)
    finally:
        await client.close()


def _config(kubeconfig: Path | None, service_account: Path | None) -> KubeConfig:
    if kubeconfig is not None:
        return KubeConfig.from_file(kubeconfig)
    if service_account is not None:
        return KubeConfig.from_service_account(service_account)
    return KubeConfig.from_env()


async def _answer(call: Awaitable[T], timeout: float) -> T:
    try:
        async with asyncio.timeout(timeout):
            return await call
    except httpx2.HTTPStatusError as error:
        raise _translated(error) from error
    except (httpx2.HTTPError, httpx2.StreamError, TimeoutError, OSError, LightkubeConfigError) as error:
        raise KubeUnavailable(f"the Kubernetes API did not answer: {_text(error)}") from error
    except (MsgspecError, LookupError, ValueError, RecursionError) as error:
        raise KubeUnavailable(f"what answered is no Kubernetes API: {_text(error)}") from error


def _translated(error: httpx2.HTTPStatusError) -> KubeError:
    if not isinstance(error, ApiError):
        answer = error.response
        kind = KubeUndefined if answer.status_code == HTTPStatus.NOT_FOUND else KubeUnavailable
        return kind(f"the Kubernetes API answered {answer.status_code} {answer.reason_phrase} at {answer.url.path}")
    message = str(error)
    match error.response.status_code:
        case HTTPStatus.NOT_FOUND:
            return KubeGone(message)
        case HTTPStatus.CONFLICT:
            return KubeConflict(message)
        case HTTPStatus.FORBIDDEN:
            return KubeForbidden(message)
        case HTTPStatus.BAD_REQUEST | HTTPStatus.REQUEST_ENTITY_TOO_LARGE | HTTPStatus.UNPROCESSABLE_ENTITY:
            return KubeRejected(message)
        case status:
            return KubeUnavailable(f"the Kubernetes API answered {status}: {message}")


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__
