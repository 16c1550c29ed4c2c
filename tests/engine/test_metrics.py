"""What an executor tells of groups and of itself, as alerts read it."""

from datetime import timedelta
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from durable_timer.models.timer import LastOutcome, Missed, Schedule, TimerState
from tests.engine.conftest import Rig
from tests.support.waiting import eventually

SIGNED = {"signing": {"secretRefs": [{"name": "keys", "key": "one"}]}}


def told(rig: Rig, name: str) -> dict[str, float]:
    """The values of a metric by its first label."""
    families = text_string_to_metric_families(rig.metrics.render().decode())
    return {
        next(iter(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
        if sample.name == f"durable_timer_{name}"
    }


async def test_what_a_group_asks_for_stands_beside_what_it_gets(rig: Rig) -> None:
    spec: dict[str, Any] = {"shards": 4, "paused": True, "objectives": {"lateness": "250ms"}}
    await rig.group("g", **spec)
    await rig.start()
    await eventually(lambda: told(rig, "claims") == told(rig, "group_shards") == {"g": 4})
    assert told(rig, "lateness_objective_seconds") == {"g": 0.25}
    assert told(rig, "group_paused") == {"g": 1}
    assert told(rig, "secrets_missing") == {"g": 0}


async def test_a_secret_that_was_never_read_is_told_until_it_is(rig: Rig) -> None:
    await rig.group("g", callback=SIGNED)
    await rig.start_unowned()
    await eventually(lambda: told(rig, "secrets_missing") == {"g": 1})
    rig.secrets.values[None, "keys", "one"] = b"whsec_" + b"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    await eventually(lambda: told(rig, "secrets_missing") == {"g": 0})


async def test_each_loop_says_when_it_turned(rig: Rig) -> None:
    await rig.group("g")
    await rig.start()
    ages = told(rig, "loop_age_seconds")
    assert ages.keys() == {"membership", "ownership", "take", "settle", "delivery", "groups"}
    assert all(0 <= age < 10 for age in ages.values())


def outcomes(rig: Rig) -> list[tuple[str, float]]:
    return sorted(
        (sample.labels["outcome"], sample.value)
        for family in text_string_to_metric_families(rig.metrics.render().decode())
        for sample in family.samples
        if sample.name == "durable_timer_deliveries_total"
    )


async def test_what_is_too_late_to_be_sent_counts_as_well(rig: Rig) -> None:
    await rig.group("g")
    late: dict[str, Any] = {"in_seconds": -3600, "starting_deadline": timedelta(minutes=1)}
    await rig.create("once", **late)
    await rig.create("often", schedule=Schedule("0 * * * *", missed=Missed.SKIP), **late)
    await rig.start()
    await rig.becomes("once", TimerState.FAILED)
    await rig.row_when("often", lambda row: row.last_outcome is LastOutcome.MISSED)
    counted = dict(outcomes(rig))
    assert (counted["failed"], counted["missed"]) == (1, 1)


async def test_outcomes_are_there_before_the_first_one(rig: Rig) -> None:
    await rig.group("g")
    await rig.start()
    assert outcomes(rig) == [("completed", 0), ("failed", 0), ("missed", 0), ("next", 0), ("retry", 0)]
