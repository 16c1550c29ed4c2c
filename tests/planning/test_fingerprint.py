"""The fingerprint of a create: the same for the same request however it is written, another for every other one."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_timer.models.timer import CallbackFormat, CallbackMethod, Header, Missed, RetryPolicy, Schedule, SecretRef
from durable_timer.planning.fingerprint import FINGERPRINT_SIZE, JsonPayload, fingerprint

URL = "http://host/"
AT = datetime(2030, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)

VARIANTS: list[dict[str, Any]] = [
    {},
    {"callback_url": "http://host/x"},
    {"execute_at": AT},
    {"execute_at": AT + timedelta(microseconds=1)},
    {"delay": SECOND},
    {"delay": SECOND * 2},
    {"schedule": Schedule("* * * * *")},
    {"schedule": Schedule("* * * * *", time_zone="Europe/Berlin")},
    {"schedule": Schedule("* * * * *", missed=Missed.SKIP)},
    {"schedule": Schedule("* * * * *", start_at=AT)},
    {"schedule": Schedule("* * * * *", end_at=AT)},
    {"payload": JsonPayload(None)},
    {"payload": JsonPayload({})},
    {"payload": JsonPayload("x")},
    {"payload": b""},
    {"payload": b"x"},
    {"payload": b"x", "content_type": "text/plain"},
    {"callback_method": CallbackMethod.POST},
    {"callback_format": CallbackFormat.STANDARD},
    {"headers": [Header("a", "x")]},
    {"headers": [Header("a", "X")]},
    {"headers": [Header("a", SecretRef("x", "k"))]},
    {"headers": [Header("a", SecretRef("x", "k", "ns"))]},
    {"headers": [Header("a", "x"), Header("b", "y")]},
    {"labels": {"a": "x"}},
    {"retry_policy": RetryPolicy(max_attempts=1)},
    {"retry_policy": RetryPolicy(max_attempts_duration=SECOND)},
    {"retry_policy": RetryPolicy(initial_interval=SECOND)},
    {"retry_policy": RetryPolicy(max_interval=SECOND)},
    {"retry_policy": RetryPolicy(backoff_multiplier=1.0)},
    {"callback_timeout": SECOND},
    {"starting_deadline": SECOND},
    {"suspend": False},
    {"suspend": True},
]


def of(**fields: Any) -> bytes:
    return fingerprint(**{"callback_url": URL, **fields})


def test_all_variants_differ() -> None:
    found = [of(**fields) for fields in VARIANTS]
    assert len(set(found)) == len(VARIANTS)
    assert {len(one) for one in found} == {FINGERPRINT_SIZE}


def test_it_never_changes_for_what_exists() -> None:
    """Rows keep it: these values are of the first release."""
    full = of(
        execute_at=AT,
        payload=JsonPayload({"b": [1, "ü"], "a": None}),
        headers=[Header("X-B", "2"), Header("x-a", "1")],
        labels={"k": "v"},
        retry_policy=RetryPolicy(max_attempts=3, max_interval=SECOND),
        callback_timeout=SECOND,
        suspend=True,
    )
    assert of().hex() == "22df20f2238a488a64aa01aaaaf1a812"
    assert full.hex() == "be299f2b2184ecfe79925bc8682c3715"
    assert of(schedule=Schedule("0 9 * * *"), payload=b"\0\1").hex() == "08c182cc8a9984af70bc68e6c528ac21"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"execute_at": AT}, {"execute_at": AT.astimezone(timezone(timedelta(hours=5, minutes=30)))}),
        ({"labels": {"a": "x", "b": "y"}}, {"labels": {"b": "y", "a": "x"}}),
        ({"labels": {}}, {"labels": None}),
        ({"headers": [Header("A", "x"), Header("B", "y")]}, {"headers": [Header("b", "y"), Header("a", "x")]}),
        ({"payload": JsonPayload({"a": 1, "b": 2})}, {"payload": JsonPayload({"b": 2, "a": 1})}),
    ],
)
def test_what_means_the_same_has_the_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert of(**one) == of(**other)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=3), children, max_size=3),
    max_leaves=8,
)


def turned(value: object) -> object:
    """The same JSON with the names of all objects in the other order."""
    if isinstance(value, dict):
        return {name: turned(item) for name, item in reversed(value.items())}
    return [turned(item) for item in value] if isinstance(value, list) else value


@given(JSON)
def test_the_order_of_names_does_not_matter(value: object) -> None:
    assert of(payload=JsonPayload(value)) == of(payload=JsonPayload(turned(value)))
