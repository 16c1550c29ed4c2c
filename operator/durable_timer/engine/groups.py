"""The groups as an executor needs them: read by their change number, once a second, everything each 30 s."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from durable_timer.engine.delivery import Secrets
from durable_timer.engine.lateness import LatenessWindow
from durable_timer.engine.signing import signing_key
from durable_timer.models.group import Group, GroupState, SigningSecretRef, TimerGroupSpec
from durable_timer.models.timer import TakenTimer
from durable_timer.planning.retry import FullRetryPolicy, effective_policy
from durable_timer.stores.base import Store

FULL_READ_EVERY: Final = 30.0
"""Seconds between two reads of all groups."""

FRESH_FOR: Final = 2.5
"""Seconds after the beginning of a read for which what it said counts."""

KEY_READERS: Final = 16
"""Groups whose signing keys are waited for at once."""

PAYLOADS_HELD: Final = 256 * 1024 * 1024
"""Bytes that the payloads of one group's held timers may take, were each as large as the group allows."""


@dataclass(slots=True)
class Tokens:
    """A token bucket: `capacity` requests at once, refilled at `rate` a second."""

    rate: float
    capacity: float
    level: float
    at: float

    def refill(self, now: float) -> float:
        self.level = min(self.capacity, self.level + (now - self.at) * self.rate)
        self.at = now
        return self.level

    def wait(self) -> float:
        """Seconds until there is one token."""
        return max(0.0, (1.0 - self.level) / self.rate)


class GroupRuntime:
    """A group in this process: its spec in the form that deliveries read, and its share of the limits."""

    __slots__ = (
        "_open",
        "_tokens", "callback_timeout", "group", "group_id", "held", "held_until", "keys", "lateness", "owned", "policy",
        "secrets_from", "shards", "signing", "spaced_until", "starved", "under_way",
    )  # fmt: skip

    def __init__(self, group: Group) -> None:
        self.group_id = group.group_id
        self.held = 0
        self.under_way = 0
        self.owned = 0
        self.held_until = float("-inf")
        """Timers due before this monotonic second were held on purpose: by a pause, a limit, a missing Secret."""
        self.starved = False
        self.spaced_until = float("-inf")
        """Monotonic second from which its overdue timers may be taken beside others'."""
        self.keys: tuple[bytes, ...] = ()
        self.signing: tuple[SigningSecretRef, ...] = ()
        self.secrets_from: str | None = None
        """The namespace of the Secrets that `keys` are from."""
        self.lateness = LatenessWindow()
        self._tokens: Tokens | None = None
        self.become(group)

    def become(self, group: Group) -> None:
        """Takes over a changed row of the group."""
        spec = group.spec
        self.group = group
        self.shards = group.shards
        self._open = group.state is GroupState.ACTIVE and not spec.paused
        self.policy: FullRetryPolicy = effective_policy(spec.retry_policy, None)
        self.callback_timeout = spec.callback.timeout.total_seconds()
        signing = spec.callback.signing.secret_refs if spec.callback.signing else ()
        if (self.namespace, signing) != (self.secrets_from, self.signing):
            self.keys = ()
        self.secrets_from, self.signing = self.namespace, signing
        if spec.callback.rate_limit is None:
            self._tokens = None

    @property
    def spec(self) -> TimerGroupSpec:
        return self.group.spec

    @property
    def fires(self) -> bool:
        """Whether its timers may be taken: active, not paused, its signing Secrets read once."""
        return self._open and len(self.keys) == len(self.signing)

    @property
    def namespace(self) -> str | None:
        """The namespace of the resource that declares it (`cluster/namespace/name`), None for a file's."""
        parts = self.group.owner.split("/")
        return parts[1] if len(parts) == 3 else None  # noqa: PLR2004

    def timeout_of(self, timer: TakenTimer) -> float:
        """Seconds that a request of the timer may take."""
        own = timer.callback_timeout
        return self.callback_timeout if own is None else own.total_seconds()

    def free(self, now: float) -> int:
        """How many timers may be taken now: this process's share of `maxInFlight` and of the rate limit."""
        room = self._places() - self.held
        if self.spec.callback.rate_limit is not None:
            room = min(room, int(self._bucket(now).refill(now)))
        return room

    def wait(self, now: float) -> float | None:
        """Seconds until the rate limit lets one through; None when that is not what holds it up."""
        if self.spec.callback.rate_limit is None or self._places() <= self.held:
            return None
        return self._bucket(now).wait()

    def took(self, count: int) -> None:
        if self._tokens is not None:
            self._tokens.level -= count

    def gave_back(self, count: int) -> None:
        """Timers that were taken and not sent do not count against the rate."""
        if self._tokens is not None:
            self._tokens.level = min(self._tokens.capacity, self._tokens.level + count)

    def _places(self) -> int:
        """What may be held at once: the share of `maxInFlight`, and no more payloads than memory is set aside for."""
        spec = self.spec
        return min(self._share(spec.callback.max_in_flight), max(1, PAYLOADS_HELD // spec.payload.max_bytes))

    def _share(self, whole: int) -> int:
        return max(1, whole * self.owned // self.shards)

    def _bucket(self, now: float) -> Tokens:
        limit = self.spec.callback.rate_limit
        if limit is None:
            raise ValueError("a group without rate limit has no bucket")
        share = limit.requests * max(self.owned, 1) / self.shards
        rate, capacity = share / limit.period.total_seconds(), max(1.0, share)
        if self._tokens is None:
            self._tokens = Tokens(rate, capacity, capacity, now)
        elif self._tokens.rate != rate:
            level = self._tokens.refill(now) * capacity / self._tokens.capacity
            self._tokens = Tokens(rate, capacity, level, now)
        return self._tokens


class GroupBook:
    """All groups, kept up to date from the store; tells its listener of each that changed."""

    def __init__(self, store: Store, secrets: Secrets, on_change: Callable[[GroupRuntime], None]) -> None:
        self._store = store
        self._secrets = secrets
        self._on_change = on_change
        self._since: int | None = None
        self._read_all_at = float("-inf")
        self._read_at = float("-inf")
        self.groups: dict[str, GroupRuntime] = {}
        self.read_to = 0
        """Up to which `change` the groups were read, and then the Secrets that sign them looked for."""
        self._reads_keys = False
        self.keys_missing = asyncio.Event()
        """A group came in, or changed, whose keys are to be read."""

    def get(self, group_id: str) -> GroupRuntime | None:
        return self.groups.get(group_id)

    def fresh(self, now: float) -> bool:
        """Whether the groups were read lately enough to know of each pause and deletion 3 s after its write."""
        return now - self._read_at < FRESH_FOR

    async def refresh(self, now: float) -> None:
        """Reads what changed. Raises: StoreUnavailable."""
        if now - self._read_all_at >= FULL_READ_EVERY:
            self._since = None
        changed, newest = await self._store.groups(self._since)
        if self._since is None:
            self._read_all_at = now
        self._read_at = now
        self._since = newest
        for group in changed:
            runtime = self.groups.get(group.group_id)
            if runtime is None:
                runtime = self.groups[group.group_id] = GroupRuntime(group)
            elif runtime.group == group:
                continue
            else:
                runtime.become(group)
            self._on_change(runtime)
            if len(runtime.keys) != len(runtime.signing):
                self.keys_missing.set()
        if not self._reads_keys and not self.keys_missing.is_set():
            self.read_to = newest

    async def read_keys(self) -> None:
        """Reads all groups' signing keys, some side by side: one that is slow to come keeps few others waiting."""
        self.keys_missing.clear()
        since = self._since or 0
        signed = iter([runtime for runtime in self.groups.values() if runtime.signing])
        self._reads_keys = True
        try:
            await asyncio.gather(*(self._read_keys_of(signed) for _ in range(KEY_READERS)))
        finally:
            self._reads_keys = False
        self.read_to = since

    async def _read_keys_of(self, groups: Iterator[GroupRuntime]) -> None:
        for runtime in groups:
            await self._read_key(runtime)

    async def _read_key(self, runtime: GroupRuntime) -> None:
        """An empty key is none: anybody could sign with it."""
        namespace, signing = runtime.secrets_from, runtime.signing
        values = [await self._secrets.read(namespace, ref.name, ref.key) for ref in signing]
        keys = tuple(key for value in values if value is not None and (key := signing_key(value)))
        same = (runtime.secrets_from, runtime.signing) == (namespace, signing)
        if same and len(keys) == len(values) and keys != runtime.keys:
            runtime.keys = keys
            self._on_change(runtime)

    def unreadable_secrets(self) -> tuple[str, ...]:
        """Ids of active groups that wait for a Secret which was never read."""
        return tuple(
            runtime.group_id
            for runtime in self.groups.values()
            if len(runtime.keys) != len(runtime.signing) and runtime.group.state is GroupState.ACTIVE
        )
