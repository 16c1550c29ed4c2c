"""What /metrics says, read by Prometheus' own parser."""

import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from durable_timer.metrics import CALL_BUCKETS, CALLBACK_BUCKETS, LATENESS_BUCKETS, Metrics


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(metrics.render().decode())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return samples(metrics).get((f"durable_timer_{name}", frozenset(labels.items())))


def test_counters_add_up_by_group() -> None:
    metrics = Metrics()
    metrics.created("a", 2)
    metrics.created("a", 3)
    metrics.taken("a", 4)
    metrics.swept("b", 1)
    metrics.purged("b", 7)
    metrics.deferred("a", "target", 5)
    assert value(metrics, "timers_created_total", group="a") == 5
    assert value(metrics, "timers_taken_total", group="a") == 4
    assert value(metrics, "timers_swept_total", group="b") == 1
    assert value(metrics, "timers_purged_total", group="b") == 7
    assert value(metrics, "timers_deferred_total", group="a", reason="target") == 5


def test_deliveries_are_counted_by_outcome_and_late_ones_observed() -> None:
    metrics = Metrics()
    metrics.delivered("a", "completed", 0.0035, 0.02)
    metrics.delivered("a", "retry", None, 10.0)
    assert value(metrics, "deliveries_total", group="a", outcome="completed") == 1
    assert value(metrics, "deliveries_total", group="a", outcome="retry") == 1
    assert value(metrics, "lateness_seconds_count", group="a") == 1
    assert value(metrics, "lateness_seconds_bucket", group="a", le="0.002") == 0
    assert value(metrics, "lateness_seconds_bucket", group="a", le="0.004") == 1
    assert value(metrics, "callback_duration_seconds_count", group="a") == 2
    assert value(metrics, "callback_duration_seconds_sum", group="a") == pytest.approx(10.02)


def test_a_bucket_includes_its_bound_and_the_last_one_everything() -> None:
    metrics = Metrics()
    metrics.delivered("a", "completed", 0.001, 0.001)
    metrics.delivered("a", "completed", 7200.0, 0.001)
    assert value(metrics, "lateness_seconds_bucket", group="a", le="0.001") == 1
    assert value(metrics, "lateness_seconds_bucket", group="a", le="3600.0") == 1
    assert value(metrics, "lateness_seconds_bucket", group="a", le="+Inf") == 2


def test_lateness_is_told_from_a_millisecond_to_an_hour() -> None:
    assert LATENESS_BUCKETS[0] == 0.001
    assert LATENESS_BUCKETS[-1] == 3600
    for buckets in (LATENESS_BUCKETS, CALLBACK_BUCKETS, CALL_BUCKETS):
        assert list(buckets) == sorted(set(buckets))


def test_gauges_say_the_last_value_and_nothing_before_there_is_one() -> None:
    metrics = Metrics()
    metrics.created("a", 1)
    assert value(metrics, "due_timers", group="a") is None
    assert value(metrics, "clock_offset_seconds") is None
    metrics.in_flight("a", 3)
    metrics.in_flight("a", 0)
    metrics.backlog("a", 12, 3.5)
    metrics.claims("a", 16)
    metrics.declared("a", shards=16, objective=0.5, paused=True, secrets_missing=False)
    metrics.observe_loops(lambda: {"take": 0.125})
    metrics.members("default", 2)
    metrics.clock_offset(-0.25)
    assert value(metrics, "in_flight", group="a") == 0
    assert value(metrics, "due_timers", group="a") == 12
    assert value(metrics, "oldest_due_age_seconds", group="a") == 3.5
    assert value(metrics, "claims", group="a") == 16
    assert value(metrics, "group_shards", group="a") == 16
    assert value(metrics, "lateness_objective_seconds", group="a") == 0.5
    assert value(metrics, "group_paused", group="a") == 1
    assert value(metrics, "secrets_missing", group="a") == 0
    assert value(metrics, "loop_age_seconds", loop="take") == 0.125
    assert value(metrics, "members", pool="default") == 2
    assert value(metrics, "clock_offset_seconds") == -0.25


def test_store_calls_and_requests_are_timed_and_their_failures_named() -> None:
    metrics = Metrics()
    metrics.store_call("take_due", 0.002, None)
    metrics.store_call("take_due", 0.2, "StoreUnavailable")
    metrics.request("createTimer", 201, 0.004)
    assert value(metrics, "store_call_duration_seconds_count", method="take_due") == 2
    assert value(metrics, "store_errors_total", method="take_due", error="StoreUnavailable") == 1
    assert value(metrics, "http_requests_total", operation="createTimer", status="201") == 1
    assert value(metrics, "http_request_duration_seconds_count", operation="createTimer") == 1


def test_a_forgotten_group_is_gone() -> None:
    metrics = Metrics()
    metrics.delivered("a", "completed", 0.001, 0.001)
    metrics.claims("b", 1)
    metrics.forget_group("a")
    groups = {dict(labels).get("group") for _, labels in samples(metrics)}
    assert groups == {None, "b"}


def test_two_processes_metrics_do_not_mix() -> None:
    one, other = Metrics(), Metrics()
    one.created("a", 1)
    assert value(other, "timers_created_total", group="a") is None


def test_the_release_and_the_process_are_described() -> None:
    names = {name for name, _ in samples(Metrics())}
    assert {"durable_timer_build_info", "process_resident_memory_bytes"} <= names


def test_measuring_a_delivery_costs_next_to_nothing() -> None:
    """The aim is 2 µs; a busy machine is allowed ten times that."""
    metrics = Metrics()
    began = time.perf_counter()
    for _ in range(20_000):
        metrics.delivered("a", "completed", 0.0035, 0.002)
    assert (time.perf_counter() - began) / 20_000 < 20e-6
