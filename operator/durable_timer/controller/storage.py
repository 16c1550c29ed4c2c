"""What kopf keeps on an object between two of its cycles: a hash of the spec it handled last, and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any, Final, cast

import kopf

from durable_timer.models.resource import GROUP

ANNOTATION: Final = f"{GROUP}/last-handled-spec"
"""Where the hash is kept."""


class SpecHashStorage(kopf.DiffBaseStorage):
    """Tells kopf whether a spec changed, by its SHA-256.

    kopf's own storage keeps the whole spec, escaped to ASCII, in an annotation: a payload of 64 KiB that is not ASCII
    takes more than the 256 KiB which all annotations share, and every later write of the object is refused.
    """

    def build(self, *, body: kopf.Body, extra_fields: Iterable[Any] | None = None) -> kopf.BodyEssence:
        """What is compared of an object as it is."""
        del extra_fields
        return _essence(spec_hash(body.get("spec") or {}))

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        """What was kept of it; None for an object that was never handled."""
        kept = body.metadata.annotations.get(ANNOTATION)
        return _essence(kept) if kept is not None else None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Keeps what was handled."""
        del body
        patch.metadata.annotations[ANNOTATION] = cast("dict[str, Any]", essence)["spec"]["hash"]


def spec_hash(spec: Any) -> str:
    """The SHA-256 of a spec, independent of the order of its keys."""
    text = json.dumps(spec, sort_keys=True, separators=(",", ":"), default=dict)
    return hashlib.sha256(text.encode()).hexdigest()


def _essence(digest: str) -> kopf.BodyEssence:
    return cast("kopf.BodyEssence", {"spec": {"hash": digest}})
