"""The composition root: makes every collaborator from the settings, and closes what it opened."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from aiohttp import web

from durable_timer import __version__
from durable_timer.clock import SystemClock
from durable_timer.config import Settings
from durable_timer.engine.delivery import Secrets
from durable_timer.engine.executor import Executor
from durable_timer.engine.http import PyreqwestDeliverer
from durable_timer.engine.settings import EngineSettings
from durable_timer.errors import ConfigError
from durable_timer.groups.manifests import LoadedManifest, load_manifests
from durable_timer.groups.registration import apply_groups
from durable_timer.health import health_app
from durable_timer.metrics import Metrics
from durable_timer.models.group import Group
from durable_timer.preparing import prepare, prepared
from durable_timer.secrets import FileSecrets
from durable_timer.stores.base import Store
from durable_timer.stores.observed import observed
from durable_timer.stores.options import StoreOptions
from durable_timer.stores.registry import open_store
from durable_timer.tracing import ContextTracer
from durable_timer_api.app import build_app
from durable_timer_api.handlers.service import Probe
from durable_timer_api.settings import BridgeSettings
from durable_timer_api.tls import TlsFiles

if TYPE_CHECKING:
    from durable_timer.tracing.spans import SpanTracer


class Factory:
    """Makes one process's parts."""

    def __init__(self, settings: Settings) -> None:
        self.metrics = Metrics()
        self._settings = settings
        self._clock = SystemClock()
        self._tracer = _span_tracer(settings)
        self.rng = random.Random(random.SystemRandom().getrandbits(64))  # noqa: S311 - jitter and ids, no secrets

    async def close(self) -> None:
        """Sends the spans that are left."""
        if self._tracer is not None:
            await self._tracer.close()

    def manifests(self) -> list[LoadedManifest]:
        """The groups' manifests that the settings name. Raises: ManifestError."""
        return load_manifests(self._settings.groups) if self._settings.groups is not None else []

    async def apply_groups(self, stores: Mapping[str, Store], manifests: Sequence[LoadedManifest]) -> list[Group]:
        """Registers the manifests' groups, each in the store that it names. Raises: ManifestError, StoreError."""
        return await apply_groups(stores, manifests)

    @asynccontextmanager
    async def store(self, statement_timeout: timedelta | None = None) -> AsyncIterator[Store]:
        """The store, at this release's schema and measured, until the block ends.

        The timeout is REST's by default.

        Raises:
            ConfigError: The URL cannot be used.
            StoreError: The database cannot.
        """
        url = self._settings.store
        store = self._open(url, statement_timeout or self._settings.database.rest_statement_timeout)
        try:
            await prepare(store, url)
            yield store
        finally:
            await store.close()

    @asynccontextmanager
    async def named_stores(self) -> AsyncIterator[Mapping[str, Store]]:
        """The stores that a bridge serves, by name, until the block ends; what is away now is prepared when it answers.

        Raises:
            ConfigError: A URL cannot be used.
            StoreUnavailable: None of them answers.
            StoreError: One cannot be used.
        """
        async with self._opened() as stores, prepared(stores, self._settings.named_stores):
            yield stores

    @asynccontextmanager
    async def unprepared_stores(self) -> AsyncIterator[Mapping[str, Store]]:
        """The stores that an operator serves, by name, until the block ends: not connected to yet, and of any schema.

        Raises:
            ConfigError: A URL cannot be used, or names a store that one process keeps to itself.
        """
        for name, url in self._settings.named_stores.items():
            if url.startswith("sqlite:"):
                raise ConfigError(f"store {name!r}: the operator needs one that several processes share, not SQLite")
        async with self._opened() as stores:
            yield stores

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Mapping[str, Store]]:
        async with AsyncExitStack() as stack:
            stores: dict[str, Store] = {}
            for name, url in self._settings.named_stores.items():
                stores[name] = self._open(url, self._settings.database.rest_statement_timeout)
                stack.push_async_callback(stores[name].close)
            yield stores

    def _open(self, url: str, statement_timeout: timedelta) -> Store:
        options = StoreOptions(
            statement_timeout=statement_timeout,
            connections=self._settings.database.pool_size,
            application_name=f"durable-timer {self._settings.member_name}",
        )
        return observed(open_store(url, options), self.metrics, self._tracer)

    @asynccontextmanager
    async def engine_store(self, store: Store) -> AsyncIterator[Store]:
        """The executor's store beside the bridge's: the same where a process can have only one, else one of its own.

        A pool of its own keeps REST's load and its longer statements away from the take loop and the beats.
        """
        if store.capabilities.exclusive:
            yield store
            return
        async with self.store(self._settings.database.engine_statement_timeout) as own:
            yield own

    @asynccontextmanager
    async def executor(self, store: Store) -> AsyncIterator[Executor]:
        """An executor with its way to targets, which is closed after the block."""
        settings = self._settings
        deliverer = PyreqwestDeliverer(
            deny_private=settings.engine.deny_private_targets,
            max_answer_bytes=settings.engine.max_answer_bytes,
            user_agent=f"durable-timer/{__version__}",
        )
        try:
            async with self._secrets() as secrets:
                yield Executor(
                    store=store,
                    deliverer=deliverer,
                    secrets=secrets,
                    clock=self._clock,
                    rng=self.rng,
                    settings=engine_settings(settings),
                    metrics=self.metrics,
                    tracer=self._tracer or ContextTracer(self.rng),
                )
        finally:
            await deliverer.close()

    @asynccontextmanager
    async def _secrets(self) -> AsyncIterator[Secrets]:
        """Where the settings say that Secrets are. Raises: ConfigError."""
        kubernetes = self._settings.kubernetes
        if not kubernetes.secrets:
            yield FileSecrets(self._settings.secrets_dir, self._clock)
            return
        try:
            from durable_timer.kube.client import open_client
            from durable_timer.kube.secrets import open_secrets
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"kubernetes.secrets needs {error.name}, which is not installed: pip install 'durable-timer[kubernetes]'"
            ) from error
        folder = kubernetes.secret_cache_dir
        async with (
            open_client() as client,
            open_secrets(client, self._clock, kubernetes.secret_namespaces, folder) as secrets,
        ):
            yield secrets

    def bridge(self, stores: Mapping[str, Store], executor: Executor | None) -> web.Application:
        """The REST API; its probes ask the executor too, where there is one in this process."""
        return build_app(
            stores,
            self.metrics,
            self.bridge_settings(),
            clock=self._clock,
            liveness={} if executor is None else {"executor": _probe(executor.healthy, "a loop does not turn")},
            readiness={} if executor is None else {"executor": _probe(executor.ready, "no beat was answered lately")},
        )

    def bridge_settings(self) -> BridgeSettings:
        """The numbers of what listens."""
        http = self._settings.http
        certificate, key = http.tls_certificate, http.tls_key
        tls = TlsFiles(certificate, key) if certificate is not None and key is not None else None
        return BridgeSettings(request_timeout=http.request_timeout, keep_alive=http.keep_alive, tls=tls)

    def health(self, executor: Executor) -> web.Application:
        """What an executor without a bridge serves."""
        return health_app(self.metrics, executor.healthy, executor.ready)


def _span_tracer(settings: Settings) -> SpanTracer | None:
    """None unless spans are asked for. Raises: ConfigError, when the extra is missing."""
    endpoint = settings.tracing.endpoint
    if endpoint is None:
        return None
    try:
        from durable_timer.tracing.spans import SpanTracer, otlp_exporter
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"tracing.endpoint needs {error.name}, which is not installed: pip install 'durable-timer[otel]'"
        ) from error
    return SpanTracer("durable-timer", settings.tracing.sample_ratio, otlp_exporter(endpoint))


def _probe(good: Callable[[], bool], otherwise: str) -> Probe:
    async def probe() -> str | None:
        return None if good() else otherwise

    return probe


def engine_settings(settings: Settings) -> EngineSettings:
    """The engine's numbers."""
    engine = settings.engine
    return EngineSettings(
        name=settings.member_name,
        pool=settings.pool,
        host=settings.member_host,
        look_ahead=engine.look_ahead,
        slots=engine.slots,
        slots_per_target=engine.slots_per_target,
        beat_interval=engine.beat_interval.total_seconds(),
        beat_timeout=engine.beat_timeout.total_seconds(),
        dead_after=engine.dead_after.total_seconds(),
        trust=engine.trust.total_seconds(),
        statement_timeout=settings.database.engine_statement_timeout.total_seconds(),
        drain_timeout=engine.drain_timeout.total_seconds(),
    )
