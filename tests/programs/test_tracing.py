"""Trace context is handed on, whether spans are recorded or not."""

import random
import re

import pytest

from durable_timer.tracing import ContextTracer, child_traceparent

SHAPE = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_child_keeps_trace_and_flags_and_has_an_id_of_its_own() -> None:
    child = child_traceparent(PARENT, random.Random(1))
    assert SHAPE.fullmatch(child)
    assert child.split("-")[1] == PARENT.split("-")[1]
    assert child.split("-")[2] != PARENT.split("-")[2]
    assert child.endswith("-01")


@pytest.mark.parametrize(
    "parent",
    [None, "", "nonsense", PARENT.upper(), PARENT + "0", "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
     "00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01", "ff" + PARENT[2:]],
)  # fmt: skip
def test_without_a_valid_parent_an_unsampled_trace_begins(parent: str | None) -> None:
    child = child_traceparent(parent, random.Random(1))
    assert SHAPE.fullmatch(child)
    assert child.endswith("-00")


def test_the_same_seed_gives_the_same_ids() -> None:
    assert child_traceparent(None, random.Random(7)) == child_traceparent(None, random.Random(7))


def test_a_callback_carries_a_child_of_its_create() -> None:
    span = ContextTracer(random.Random(1)).callback(PARENT, "demo", "t-1")
    assert span.traceparent.split("-")[1] == PARENT.split("-")[1]
    span.end(None)
