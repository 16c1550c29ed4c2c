"""kopf's handlers and settings."""

from __future__ import annotations

from typing import Any, Final

import kopf

from durable_timer.controller.handlers import observe, reconcile
from durable_timer.controller.storage import SpecHashStorage
from durable_timer.models.resource import GROUP, VERSION, ResourceKind

REQUEST_TIMEOUT: Final = 30
"""Seconds that one of kopf's own requests may take."""

WATCH_TIMEOUT: Final = 600
"""Seconds after which the API server ends a watch, and kopf begins a new one."""

CHUNK: Final = 500
"""Objects of one page of kopf's first list."""

BACKOFF: Final = 15.0
"""Seconds before kopf calls a handler again that raised."""


def build_registry() -> kopf.OperatorRegistry:
    """The handlers of both kinds, in a registry of their own."""
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry, errors=kopf.ErrorsMode.PERMANENT)(_login)
    for kind in ResourceKind:
        selector = (GROUP, VERSION, kind.plural)
        kopf.on.event(*selector, registry=registry)(observe)
        handler = kopf.on.resume(*selector, registry=registry)(reconcile)
        handler = kopf.on.update(*selector, registry=registry)(handler)
        kopf.on.create(*selector, registry=registry)(handler)
    return registry


def build_settings() -> kopf.OperatorSettings:
    """How kopf behaves: it writes one annotation for each new spec, and nothing else."""
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.networking.request_timeout = REQUEST_TIMEOUT
    settings.watching.server_timeout = WATCH_TIMEOUT
    settings.watching.chunk_size = CHUNK
    settings.execution.default_backoff = BACKOFF
    settings.process.ultimate_exiting_timeout = None
    settings.persistence.finalizer = f"{GROUP}/kopf-finalizer"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP, v1=False)
    settings.persistence.diffbase_storage = SpecHashStorage()
    return settings


def _login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    """As this pod's service account, else as KUBECONFIG says: as `kube.client` does."""
    return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)
