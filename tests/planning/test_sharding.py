from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_timer.planning.sharding import shard_of


@pytest.mark.parametrize(
    ("timer_id", "shards", "shard"),
    [("123456789", 4096, 0xCBF43926 % 4096), ("123456789", 1, 0), ("", 16, 0), ("a", 16, 0xE8B7BE43 % 16)],
)
def test_the_shard_is_the_published_crc_32_check_value(timer_id: str, shards: int, shard: int) -> None:
    assert shard_of(timer_id, shards) == shard


@given(st.text(max_size=255), st.integers(1, 4096))
def test_each_id_has_a_shard_of_its_group(timer_id: str, shards: int) -> None:
    assert 0 <= shard_of(timer_id, shards) < shards
