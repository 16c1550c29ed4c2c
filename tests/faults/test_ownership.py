"""What is in flight, as a store's tables say: of an incarnation, not of whoever bears its name later."""

import pytest

from faults.loop import Loop
from faults.ownership import Ownership
from tests.support.postgres import execute

TABLES = """
CREATE TABLE timer_members (incarnation text, name text, dead boolean);
CREATE TABLE timer_shards (group_id text, shard int, epoch bigint, owner text, drains text);
CREATE TABLE timers (group_id text, shard int, uid bigint, occurrence int, state smallint, taken_epoch bigint);
INSERT INTO timer_members VALUES ('before', 'executor-2', true), ('after', 'executor-2', false), ('other', 'executor-1', false);
INSERT INTO timer_shards VALUES ('g', 0, 4, 'before', '[]'), ('g', 1, 7, 'after', '[]'), ('g', 2, 2, 'other', '[]'),
  ('g', 3, 3, 'other', '[{"epoch": 2, "incarnation": "before", "until": 0}]');
INSERT INTO timers VALUES ('g', 0, 10, 3, 1, 4), ('g', 0, 11, 1, 0, NULL), ('g', 0, 12, 1, 1, 3), ('g', 1, -1, 2, 1, 7),
  ('g', 2, 13, 1, 1, 2), ('g', 3, 14, 5, 1, 2), ('g', 3, 15, 5, 1, 3)
"""


@pytest.mark.postgresql
def test_in_flight_is_what_an_incarnation_took_and_did_not_settle(postgres_database: str) -> None:
    execute(postgres_database, TABLES)
    with Loop() as loop:
        ownership = Ownership(loop, postgres_database, "g")
        assert ownership.living("executor-1", "executor-2") == {"after", "other"}
        assert ownership.in_flight({"before"}) == {"000000000000000a.3", "000000000000000e.5"}
        assert ownership.in_flight(ownership.living("executor-2")) == {"ffffffffffffffff.2"}
        assert ownership.in_flight(()) == frozenset()
