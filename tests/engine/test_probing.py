"""How often a shard is looked at, against what a take tells of it."""

from durable_timer.engine.taking import PROBE_EVERY
from durable_timer.stores.base import NEXT_DUE_WITHIN


def test_a_shard_is_looked_at_again_before_anything_is_due_that_a_take_did_not_tell_of() -> None:
    assert NEXT_DUE_WITHIN.total_seconds() >= PROBE_EVERY
