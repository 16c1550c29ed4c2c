"""Which of several processes leads: who renews a Lease.

    follower ──free, or unchanged for its duration──▶ leader ──not renewed for `give_up`, or another's──▶ the process ends

The Lease's times are for people. A follower judges by its own clock how long the Lease has not changed; a leader trusts
itself for `give_up` after the *sending* of its last renewal that was answered, which is less than `duration`, by a clock
that counts suspension. So a new leader begins only after the old one, frozen or cut off, has ceased to believe in itself.

A Lease that somebody deletes is made again by whoever sees it first: by its leader as its own, by a follower without a
holder. One without a holder is its leader's again at the next renewal; a follower leaves it alone for `give_up` and some,
the longest that a leader could still be one. One whose holder is empty was released, and is anyone's at once. So only who
empties the holder by hand, or writes another, can make two leaders, until the next renewal; what they write is fenced
besides, by resource versions and by the term in the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import structlog

from durable_timer.clock import Clock
from durable_timer.errors import KubeConflict, KubeError, KubeGone, LeaseLost
from durable_timer.kube.client import LEASE, KubeClient
from durable_timer.models.instants import format_instant

DURATION: Final = 10.0
"""Seconds after which a Lease that does not change is anyone's."""

RENEW: Final = 2.0
"""Seconds between two renewals, between two looks of a follower, and that one request may take."""

GIVE_UP: Final = 6.0
"""Seconds after the sending of its last answered renewal for which a leader is one."""

AGAIN: Final = 8
"""A renewal that failed, and a look at a Lease that was written meanwhile, is tried again after this part of `renew`."""

UNHELD_MARGIN: Final = 1.0
"""Seconds beyond `give_up` for which a follower leaves a Lease without a holder to its leader."""

_DURATION_MAX: Final = 3600

log = structlog.get_logger(__name__)

Body = Mapping[str, Any]


class Election:
    """One process's part in the election: `acquire`, then `hold` until it is cancelled or raises, then `release`.

    `identity` is this process's own: another one, be it of the same pod, must not have it.
    """

    def __init__(
        self,
        client: KubeClient,
        namespace: str,
        name: str,
        identity: str,
        clock: Clock,
        duration: float = DURATION,
        renew: float = RENEW,
        give_up: float = GIVE_UP,
    ) -> None:
        if not renew < give_up < duration:
            raise ValueError(
                f"renew ({renew}) must be less than give_up ({give_up}), and that than duration ({duration})"
            )
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._clock = clock
        self._duration = duration
        self._renew = renew
        self._give_up = give_up
        self._lease: Body | None = None
        """The Lease as it was last read or written."""
        self._changed_at = float("-inf")
        """Since when, by the own clock, it is as it is."""
        self._sent_at = float("-inf")
        """When the last renewal that was answered was sent."""

    def leading(self) -> bool:
        """Whether this process leads now: its last answered renewal was sent less than `give_up` ago."""
        return self._clock.monotonic() - self._sent_at < self._give_up

    async def acquire(self) -> None:
        """Returns when this process leads; until then it looks each `renew`, and when the Lease expires."""
        complained = False
        while True:
            try:
                async with asyncio.timeout(self._renew):
                    if await self._try_to_lead():
                        log.info("leading", lease=f"{self._namespace}/{self._name}", identity=self._identity)
                        return
            except KubeConflict:
                await asyncio.sleep(self._renew / AGAIN)
            except (KubeError, TimeoutError) as error:
                if not complained:
                    log.warning("cannot get the Lease, trying again", error=str(error) or "timeout")
                complained = True
                await asyncio.sleep(self._renew)
            else:
                complained = False
                await asyncio.sleep(min(self._renew, self._wait()))

    async def hold(self) -> None:
        """Renews the Lease, and never returns.

        Raises:
            LeaseLost: It was not renewed for `give_up`, or another process holds it. `leading` says so already.
        """
        pause = 0.0
        while True:
            await asyncio.sleep(pause)
            pause = self._renew if await self._renewed() else self._renew / AGAIN

    async def release(self) -> None:
        """Gives the Lease up where this process holds it, so that a follower leads at its next look.

        Also where `acquire` was cancelled, whose last write may have been done. Never raises: at worst the Lease expires.
        """
        self._sent_at = float("-inf")
        try:
            async with asyncio.timeout(self._renew):
                for _ in range(AGAIN):
                    if await self._released():
                        return
                    await asyncio.sleep(self._renew / AGAIN)
        except (KubeError, TimeoutError) as error:
            log.warning("the Lease was not released, it will expire", error=str(error) or "timeout")

    async def _try_to_lead(self) -> bool:
        self._seen(await self._client.get(LEASE, self._namespace, self._name, self._renew))
        if self._lease is None:
            self._seen(await self._write(None, None))
        if self._wait() > 0:
            return False
        sent = self._clock.monotonic()
        self._lease = await self._write(self._lease, self._identity)
        self._sent_at = sent
        return self.leading()

    def _seen(self, lease: Body | None) -> None:
        if _version(lease) != _version(self._lease):
            self._changed_at = self._clock.monotonic()
        self._lease = lease

    def _wait(self) -> float:
        """Seconds until the Lease, if it stays as it is, may be taken."""
        spec = _spec(self._lease)
        match spec.get("holderIdentity"):
            case None:
                kept = self._give_up + UNHELD_MARGIN
            case "" | self._identity:
                return 0.0
            case _:
                kept = max(self._duration, min(spec.get("leaseDurationSeconds") or 0, _DURATION_MAX))
        return kept - (self._clock.monotonic() - self._changed_at)

    async def _renewed(self) -> bool:
        """Tries once. False: it is to be tried again. Raises: LeaseLost."""
        left = self._give_up - (self._clock.monotonic() - self._sent_at)
        if left < self._renew / AGAIN:
            raise self._lost(f"it was not renewed for {self._give_up:g} s")
        sent = self._clock.monotonic()
        try:
            async with asyncio.timeout(min(left, self._renew)):
                await self._write_mine()
        except LeaseLost:
            raise
        except (KubeError, TimeoutError) as error:
            log.warning("the Lease was not renewed", error=str(error) or "timeout")
            return False
        self._sent_at = sent
        return True

    async def _write_mine(self) -> None:
        """Writes the Lease that this process holds, read anew where somebody else wrote or deleted it.

        Raises: KubeError; LeaseLost, when another process holds it.
        """
        try:
            self._lease = await self._write(self._lease, self._identity)
        except (KubeConflict, KubeGone):
            lease = await self._client.get(LEASE, self._namespace, self._name, self._renew)
            present = _spec(lease).get("holderIdentity")
            if present not in {None, "", self._identity}:
                raise self._lost(f"{present} holds it") from None
            self._lease = await self._write(lease, self._identity)

    async def _released(self) -> bool:
        lease = await self._client.get(LEASE, self._namespace, self._name, self._renew)
        if _spec(lease).get("holderIdentity") != self._identity:
            return True
        try:
            await self._write(lease, "")
        except KubeConflict:  # a renewal that was under way
            return False
        return True

    async def _write(self, lease: Body | None, holder: str | None) -> Body:
        """Writes the Lease over the one that was read (None: there was none), and answers it as written."""
        now = format_instant(self._clock.now())
        spec = _spec(lease)
        if holder and spec.get("holderIdentity") != holder:
            spec |= {"acquireTime": now, "leaseTransitions": (spec.get("leaseTransitions") or 0) + 1}
        if holder is not None:
            spec |= {"holderIdentity": holder, "renewTime": now, "leaseDurationSeconds": round(self._duration)}
        if lease is None:
            body: Body = {"metadata": {"name": self._name}, "spec": spec}
            return await self._client.create(LEASE, self._namespace, body, self._renew)
        return await self._client.replace(LEASE, self._namespace, {**lease, "spec": spec}, self._renew)

    def _lost(self, why: str) -> LeaseLost:
        self._sent_at = float("-inf")
        return LeaseLost(f"the Lease {self._namespace}/{self._name} is lost: {why}")


def _version(lease: Body | None) -> str | None:
    return None if lease is None else str(lease["metadata"]["resourceVersion"])


def _spec(lease: Body | None) -> dict[str, Any]:
    return dict((lease or {}).get("spec") or {})
