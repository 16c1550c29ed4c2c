"""Every setting of a process, with its bounds and its words. `docs/configuration.md` is generated from here."""

from __future__ import annotations

import os
import re
import socket
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from durable_timer.logs import LogFormat, LogLevel
from durable_timer.models import limits
from durable_timer.models.durations import DurationBounds, format_duration
from durable_timer.models.manifest import DnsLabel

_LISTEN: Final = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]*):([0-9]{1,5})", re.ASCII)
_PORT_MAX: Final = 65_535
_STORE_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://\S*", re.ASCII)
_HTTP_URL: Final = re.compile(r"https?://\S+", re.ASCII)
_SECOND: Final = timedelta(seconds=1)
_MILLISECOND: Final = timedelta(milliseconds=1)
_TRUST_MARGIN: Final = timedelta(milliseconds=500)


def split_listen(listen: str) -> tuple[str | None, int]:
    """Host (None for all interfaces) and port of a listen address that was checked."""
    host, _, port = listen.rpartition(":")
    return host.strip("[]") or None, int(port)


def default_member_name() -> str:
    """The host's name and the process's id: unique enough for people to tell members apart."""
    return f"{socket.gethostname()}-{os.getpid()}"


def _check_listen(listen: str) -> str:
    match = _LISTEN.fullmatch(listen)
    if match is None or int(match[1]) > _PORT_MAX:
        raise ValueError("must be HOST:PORT, such as 127.0.0.1:8080, [::1]:8080, or :8080 for all interfaces")
    return listen


def _check_store(url: str) -> str:
    if _STORE_URL.fullmatch(url) is None:
        raise ValueError("must be a URL such as sqlite:///durable-timer.sqlite or postgresql://user@host/database")
    return url


def _check_endpoint(url: str) -> str:
    if _HTTP_URL.fullmatch(url) is None:
        raise ValueError("must be an http or https URL such as http://localhost:4318")
    return url


def _listed(value: object) -> object:
    return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value


Names = Annotated[tuple[DnsLabel, ...], NoDecode, BeforeValidator(_listed)]
"""Names that a flag or a variable gives with commas between them, a file as a list."""


class _Part(BaseModel):
    """Settings that belong together."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class EnginePart(_Part):
    """How an executor takes and delivers timers."""

    look_ahead: Annotated[timedelta, DurationBounds(timedelta(0), _SECOND)] = Field(
        default=100 * _MILLISECOND,
        description="How long before it is due a timer may be taken from the store. It is never sent early, but once "
        "taken it can no longer be changed or cancelled.",
    )
    slots: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=1000, description="Callbacks that one executor has under way at once."
    )
    slots_per_target: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=100, description="Callbacks that one executor has under way at once to one target host."
    )
    beat_interval: Annotated[timedelta, DurationBounds(100 * _MILLISECOND, 5 * _SECOND)] = Field(
        default=500 * _MILLISECOND, description="How often an executor says in the store that it lives."
    )
    beat_timeout: Annotated[timedelta, DurationBounds(100 * _MILLISECOND, 5 * _SECOND)] = Field(
        default=500 * _MILLISECOND, description="How long a beat waits for the store's answer."
    )
    dead_after: Annotated[timedelta, DurationBounds(_SECOND, 60 * _SECOND)] = Field(
        default=2 * _SECOND,
        description="After how long without a beat an executor is declared dead and its shards are taken over. The same "
        "in all executors of a pool.",
    )
    trust: Annotated[timedelta, DurationBounds(500 * _MILLISECOND, 59 * _SECOND)] = Field(
        default=1500 * _MILLISECOND,
        description="For how long after the sending of its last answered beat an executor delivers what it has taken. "
        "At least beat_interval + beat_timeout, and at least 500ms less than dead_after.",
    )
    drain_timeout: Annotated[timedelta, DurationBounds(timedelta(0), 3600 * _SECOND)] = Field(
        default=305 * _SECOND,
        description="How long a stopping executor waits for callbacks under way. Shorter than the longest callback "
        "timeout, callbacks may be cut off, and are delivered again by the next owner.",
    )
    max_answer_bytes: Annotated[
        int, Field(ge=limits.ANSWER_MAX_BYTES_MIN, le=limits.ANSWER_MAX_BYTES_MAX)
    ] = Field(default=limits.ANSWER_MAX_BYTES_DEFAULT, description="How much of a callback's answer is read, in bytes.")  # fmt: skip
    deny_private_targets: bool = Field(
        default=True,
        description="Refuse callbacks to loopback, link-local and cloud metadata addresses; such timers fail. Turn it "
        "off to try the service on one machine.",
    )

    @model_validator(mode="after")
    def _trust_holds(self) -> Self:
        if self.trust + _TRUST_MARGIN > self.dead_after:
            raise ValueError(
                f"trust ({format_duration(self.trust)}) must be at least 500ms less than "
                f"dead_after ({format_duration(self.dead_after)})"
            )
        if self.beat_interval + self.beat_timeout > self.trust:
            raise ValueError(
                f"trust ({format_duration(self.trust)}) must be at least beat_interval + beat_timeout "
                f"({format_duration(self.beat_interval + self.beat_timeout)})"
            )
        return self


class HttpPart(_Part):
    """The REST API of a bridge."""

    request_timeout: Annotated[timedelta, DurationBounds(_SECOND, 60 * _SECOND)] = Field(
        default=10 * _SECOND, description="How long a request may take; it is answered 504 past it."
    )
    keep_alive: Annotated[timedelta, DurationBounds(_SECOND, 300 * _SECOND)] = Field(
        default=75 * _SECOND, description="How long an idle connection is kept open."
    )
    tls_certificate: Path | None = Field(
        default=None,
        description="Serve HTTPS with the certificate of this PEM file, followed by its intermediates; a changed file is "
        "in use within 30 seconds. None: plain HTTP.",
    )
    tls_key: Path | None = Field(default=None, description="The PEM file of the certificate's key, without passphrase.")

    @model_validator(mode="after")
    def _whole_pair(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key belong together")
        return self


class DatabasePart(_Part):
    """How the store's database is used; a store takes what applies to it."""

    pool_size: Annotated[int, Field(ge=2, le=200)] = Field(
        default=10,
        description="The most connections to the database that a bridge opens, and an executor; standalone is both. One more "
        "each waits for wake-ups.",
    )
    engine_statement_timeout: Annotated[timedelta, DurationBounds(100 * _MILLISECOND, 60 * _SECOND)] = Field(
        default=2 * _SECOND, description="How long a statement of the executor may take."
    )
    rest_statement_timeout: Annotated[timedelta, DurationBounds(100 * _MILLISECOND, 60 * _SECOND)] = Field(
        default=5 * _SECOND, description="How long a statement on behalf of a REST request may take."
    )
    start_wait: Annotated[timedelta, DurationBounds(0 * _SECOND, 3600 * _SECOND)] = Field(
        default=0 * _SECOND,
        description="How long a bridge or an executor that starts waits for a database that is away, before it ends with "
        "exit code 3. The chart says 4m.",
    )


class LogPart(_Part):
    """What is written to stderr."""

    format: LogFormat = Field(
        default=LogFormat.CONSOLE, description="How a line looks: console for people, json for collectors."
    )
    level: LogLevel = Field(default=LogLevel.INFO, description="The least level that is written.")


class TracingPart(_Part):
    """OpenTelemetry traces (the extra `otel`)."""

    endpoint: Annotated[str, AfterValidator(_check_endpoint)] | None = Field(
        default=None,
        description="The OTLP/HTTP collector that spans are sent to, such as http://localhost:4318. None: no spans; "
        "callbacks carry the trace context of their create all the same.",
    )
    sample_ratio: Annotated[float, Field(ge=0, le=1)] = Field(
        default=1.0, description="The share of creates without a trace context of their own that begin a sampled trace."
    )


class KubernetesPart(_Part):
    """What a process does with the Kubernetes API (the extra `kubernetes`)."""

    namespaces: Names = Field(
        default=(),
        description="The namespaces whose TimerGroups and Timers the operator serves, with commas between them. None: "
        "those of the whole cluster. What is declared in others is left alone.",
    )
    cluster: DnsLabel = Field(
        default="default",
        description="This cluster's name among those that share a store: the groups that its operator registers belong "
        "to CLUSTER/NAMESPACE/NAME. A cluster that is built anew goes on as the one whose name it has.",
    )
    lease_name: DnsLabel = Field(
        default="durable-timer-operator",
        description="The Lease that the operator which leads holds. One for each set of namespaces that is served.",
    )
    lease_namespace: DnsLabel | None = Field(
        default=None, description="The namespace of the Lease. None: the pod's own, or default outside a cluster."
    )
    identity: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,253}$")] = Field(
        default_factory=default_member_name,
        description="What the Lease and Events call this operator; in Kubernetes the pod's name.",
    )
    secrets: bool = Field(
        default=False,
        description="Read the Secrets that groups and timers name from the Kubernetes API, each from the namespace of "
        "the group or timer, instead of from secrets_dir.",
    )
    secret_namespaces: Names = Field(
        default=(),
        description="The namespaces whose Secrets may be read, with commas between them. Groups and timers elsewhere "
        "that name a Secret wait.",
    )
    secret_cache_dir: Path | None = Field(
        default=None,
        description="A folder that outlives this process, where Secrets that were read are kept (a volume in memory: an "
        "emptyDir with medium Memory), so that a process that starts without the Kubernetes API has them. None: kept "
        "in this process alone.",
    )


class Settings(BaseSettings):
    """The settings of a process, as checked."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="DURABLE_TIMER_", env_nested_delimiter="__", env_ignore_empty=True
    )

    listen: Annotated[str, AfterValidator(_check_listen)] = Field(
        default="127.0.0.1:8080", description="HOST:PORT to listen on; :PORT listens on all interfaces."
    )
    store: Annotated[str, AfterValidator(_check_store)] = Field(
        default="sqlite:///durable-timer.sqlite",
        description="The URL of the database: sqlite:///PATH (four slashes for an absolute path; one process), or "
        "postgresql://USER:PASSWORD@HOST:PORT/DATABASE (any number of processes; needs the extra postgresql).",
    )
    stores: dict[DnsLabel, Annotated[str, AfterValidator(_check_store)]] = Field(
        default={},
        description="Stores by the names that spec.store of groups uses, for an operator and a bridge, which serve "
        "several. `store` is the one called default, unless one is called so here or `store` is not given at all. An "
        "executor serves one store, `store`.",
    )
    groups: Path | None = Field(
        default=None,
        description="A TimerGroup manifest, or a folder of them (*.yaml, *.yml, *.json), registered at start. None: the "
        "groups that the store has.",
    )
    pool: DnsLabel = Field(
        default=limits.POOL_DEFAULT, description="The pool of executors that this one belongs to (spec.executorPool)."
    )
    member_name: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,253}$")] = Field(
        default_factory=default_member_name,
        description="This executor's name, as people see it; in Kubernetes the pod's. By default host name and process id.",
    )
    member_host: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,253}$")] | None = Field(
        default=None,
        description="What outlives this process and runs one executor at a time, such as a pod's uid: a predecessor "
        "with the same value is declared dead at once.",
    )
    secrets_dir: Path | None = Field(
        default=None,
        description="Where Secrets lie as files: DIR/NAME/KEY, or DIR/NAMESPACE/NAME/KEY for those of a namespace. "
        "None: no Secrets; timers and groups that name one wait.",
    )
    engine: EnginePart = Field(default_factory=EnginePart, description="How an executor takes and delivers timers.")
    http: HttpPart = Field(default_factory=HttpPart, description="The REST API of a bridge.")
    database: DatabasePart = Field(default_factory=DatabasePart, description="How the store's database is used.")
    kubernetes: KubernetesPart = Field(
        default_factory=KubernetesPart, description="What is done with the Kubernetes API."
    )
    log: LogPart = Field(default_factory=LogPart, description="What is written to stderr.")
    tracing: TracingPart = Field(default_factory=TracingPart, description="OpenTelemetry traces.")

    @model_validator(mode="after")
    def _one_name_for_each_database(self) -> Self:
        known: dict[tuple[str, str], str] = {}
        for name, url in self.named_stores.items():
            parts = urlsplit(url)
            first = known.setdefault((parts.netloc.rpartition("@")[2], parts.path), name)
            if first != name:
                raise ValueError(
                    f"stores.{name} must be another database than that of {first!r}: groups live in one store, by one name"
                )
        return self

    @property
    def named_stores(self) -> dict[str, str]:
        """The URLs of the stores that an operator or a bridge serves, by name."""
        if self.stores and "store" not in self.model_fields_set:
            return dict(self.stores)
        return {limits.STORE_DEFAULT: self.store, **self.stores}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is given: `sources.load` reads environment and file itself, to say where a wrong value stands."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)
