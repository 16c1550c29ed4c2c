"""TimerGroup manifests from files into the store, for a service without Kubernetes."""

from __future__ import annotations

from durable_timer.groups.manifests import LoadedManifest, load_manifests
from durable_timer.groups.registration import apply_groups

__all__ = ["LoadedManifest", "apply_groups", "load_manifests"]
