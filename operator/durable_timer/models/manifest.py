"""What the manifests of both kinds are made of: names, parts, metadata, and the fields of a retry policy."""

from __future__ import annotations

import re
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Final

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StrictInt,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel

from durable_timer.models import limits
from durable_timer.models.cel import CelRule, FieldRules, held, in_order
from durable_timer.models.durations import DurationBounds, format_duration

API_VERSION: Final = "durabletimer.dev/v1alpha1"
"""The API group and version of the resources."""

DNS_LABEL_PATTERN: Final = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
"""A DNS label (RFC 1123), but for its length."""

DNS_SUBDOMAIN_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
"""The name of most Kubernetes objects, but for its length."""

MULTIPLIER_PATTERN: Final = r"^[0-9]{1,2}(\.[0-9]{1,3})?$"
"""A multiplier as a decimal string."""

MULTIPLIER_LENGTH_MAX: Final = 6
"""Characters of the longest string of that shape."""

_SERVER_FIELDS: Final = frozenset({
    "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
    "finalizers", "generateName", "managedFields", "ownerReferences", "selfLink",
})  # fmt: skip
"""What an API server adds to metadata."""

SUBDOMAIN_MAX: Final = 253
"""Characters of the name of most Kubernetes objects."""

DnsLabel = Annotated[str, StringConstraints(pattern=DNS_LABEL_PATTERN, min_length=1, max_length=limits.GROUP_ID_MAX)]
ObjectName = Annotated[str, StringConstraints(pattern=DNS_SUBDOMAIN_PATTERN, min_length=1, max_length=SUBDOMAIN_MAX)]
SecretKey = Annotated[str, StringConstraints(pattern="^[-._a-zA-Z0-9]+$", min_length=1, max_length=SUBDOMAIN_MAX)]


def _multiplier(value: object, info: ValidationInfo) -> object:
    """Reads a decimal string; a document (JSON) has nothing else there, code may give the number itself."""
    if isinstance(value, str):
        if re.fullmatch(MULTIPLIER_PATTERN, value, re.ASCII) is None:
            raise ValueError(f'must be a decimal string such as "2.0" with at most three decimals, not {value!r}')
        return float(value)
    if info.mode == "json":
        raise ValueError(f'must be a decimal string such as "2.0" (in quotes), not {value!r}')
    return value


class Part(BaseModel):
    """Part of a manifest: camelCase outside, nothing unknown; a null field is an absent one, as in Kubernetes."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, value: object) -> object:
        if isinstance(value, dict):
            return {key: item for key, item in value.items() if item is not None}
        return value


class DeletionPolicy(StrEnum):
    """What becomes of the timers of a resource that is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


class ManifestMetadata(Part):
    """A manifest's metadata; what an API server adds to it is accepted and left out."""

    name: ObjectName = Field(description="The resource's name.")
    namespace: DnsLabel | None = Field(default=None, description="The namespace in Kubernetes; no meaning in a file.")
    labels: dict[str, str] | None = Field(default=None, description="Labels in Kubernetes; no meaning in a file.")
    annotations: dict[str, str] | None = Field(default=None, description="Annotations in Kubernetes.")

    @model_validator(mode="before")
    @classmethod
    def _drop_server_fields(cls, value: object) -> object:
        if isinstance(value, dict):
            return {key: item for key, item in value.items() if key not in _SERVER_FIELDS}
        return value


MaxAttempts = Annotated[StrictInt, Field(ge=limits.MAX_ATTEMPTS_MIN, le=limits.MAX_ATTEMPTS_MAX)]
MaxAttemptsDuration = Annotated[
    timedelta, DurationBounds(limits.MAX_ATTEMPTS_DURATION_MIN, limits.MAX_ATTEMPTS_DURATION_MAX)
]
InitialInterval = Annotated[timedelta, DurationBounds(limits.INITIAL_INTERVAL_MIN, limits.INITIAL_INTERVAL_MAX)]
MaxInterval = Annotated[timedelta, DurationBounds(limits.INITIAL_INTERVAL_MIN, limits.MAX_INTERVAL_MAX)]
BackoffMultiplier = Annotated[
    float,
    BeforeValidator(_multiplier),
    Field(ge=limits.BACKOFF_MULTIPLIER_MIN, le=limits.BACKOFF_MULTIPLIER_MAX),
    PlainSerializer(repr, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": MULTIPLIER_PATTERN, "maxLength": MULTIPLIER_LENGTH_MAX}),
    FieldRules(
        (
            CelRule(
                f"double(self) >= {limits.BACKOFF_MULTIPLIER_MIN} && double(self) <= {limits.BACKOFF_MULTIPLIER_MAX}",
                f'must be from "{limits.BACKOFF_MULTIPLIER_MIN}" to "{limits.BACKOFF_MULTIPLIER_MAX}"',
            ),
        )
    ),
]

INTERVALS_IN_ORDER: Final = held(
    in_order("initialInterval", "maxInterval", "duration(self.initialInterval)", "duration(self.maxInterval)")
)
"""What `check_intervals` holds, for an API server."""


def check_intervals(initial: timedelta | None, longest: timedelta | None) -> None:
    """Holds the two against each other where both are given; raises ValueError."""
    if initial is not None and longest is not None and longest < initial:
        raise ValueError(
            f"maxInterval ({format_duration(longest)}) must be at least initialInterval ({format_duration(initial)})"
        )


class Manifest(Part):
    """A resource as a document, in a file or as an API server has it: its status is accepted and left out."""

    @model_validator(mode="before")
    @classmethod
    def _drop_status(cls, value: object) -> object:
        if isinstance(value, dict):
            return {key: item for key, item in value.items() if key != "status"}
        return value
