"""A store that is known to be away is asked nothing: who waits for it would hold up the Timers of another."""

import asyncio
from collections import Counter
from typing import Final

import pytest

from durable_timer.errors import SchemaVersionError, StoreUnavailable
from durable_timer.reconcile.drift import PAGE, Drift
from durable_timer.reconcile.timer_deletion import GIVE_UP_AFTER
from tests.timers.cluster import Cluster, key_of
from tests.timers.test_drift import Source, drift
from tests.timers.test_reconcile import one_shot, soon

WHY: Final = "store 'default' does not answer: no answer in time"


def take_away(cluster: Cluster) -> Counter[str]:
    """Takes the store away, as the directory sees it; the calls to it from now on."""
    cluster.groups.away_stores["default"] = WHY
    cluster.store.calls.clear()
    return cluster.store.calls


async def test_a_timer_says_so_without_asking(cluster: Cluster) -> None:
    calls = take_away(cluster)
    await cluster.apply("t", one_shot(soon()))
    assert cluster.condition("t", "Ready") == ("False", "StoreUnreachable")
    assert not calls
    written = cluster.api.writes.copy()
    await cluster.reconcile("t")
    assert cluster.api.writes == written
    cluster.groups.away_stores.clear()
    await cluster.reconcile("t")
    assert cluster.is_ready("t")


async def test_a_declared_timer_stays_ready(cluster: Cluster) -> None:
    await cluster.apply("t", one_shot(soon()))
    written = cluster.api.writes.copy()
    calls = take_away(cluster)
    await cluster.reconcile("t")
    assert cluster.is_ready("t")
    assert (cluster.api.writes, +calls) == (written, {})


async def test_a_deletion_waits_without_asking_and_not_for_ever(cluster: Cluster) -> None:
    await cluster.apply("t", one_shot(soon()))
    calls = take_away(cluster)
    cluster.api.remove("t")
    with pytest.raises(StoreUnavailable, match="no answer in time"):
        await cluster.reconcile("t")
    cluster.clock.ahead += GIVE_UP_AFTER
    await cluster.reconcile("t")
    assert key_of("t") not in cluster.api.objects
    assert not calls


async def test_a_store_that_refuses_this_release_holds_no_resource_for_ever(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cluster.apply("t", one_shot(soon()))
    cluster.api.remove("t")

    async def refuse(*_: object) -> None:
        raise SchemaVersionError("too new")

    monkeypatch.setattr(cluster.store, "get", refuse, raising=False)
    with pytest.raises(SchemaVersionError):
        await cluster.reconcile("t")
    cluster.clock.ahead += GIVE_UP_AFTER
    await cluster.reconcile("t")
    assert key_of("t") not in cluster.api.objects


async def test_nothing_is_compared(cluster: Cluster) -> None:
    await cluster.apply("t", one_shot(soon()))
    calls = take_away(cluster)
    passes, found = drift(cluster)
    assert await passes.compare() == 0
    assert (found, +calls) == ([], {})


async def test_a_page_of_a_few_timers_costs_no_more_than_its_part_of_a_pause(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a thousand groups of one Timer each are ten minutes of waiting a pass."""
    await cluster.apply("t", one_shot(soon()))
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    await Drift(Source(cluster), cluster.timers, lambda _: None, cluster.clock, pause=1.0).compare()
    assert [seconds for seconds in slept if seconds] == [1.0 / PAGE]
