"""When each claimed shard is looked at next."""

from datetime import UTC, datetime

from durable_timer.engine.agenda import Agenda, OwnedShard
from durable_timer.engine.groups import GroupRuntime
from durable_timer.models.group import Group, GroupState, TimerGroupSpec
from durable_timer.models.ownership import ShardKey

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = ShardKey("g", 0)


def _shard(epoch: int) -> OwnedShard:
    group = Group("g", "file:g", 1, "default", TimerGroupSpec(), 1, GroupState.ACTIVE, NOW, None, 1)
    return OwnedShard(KEY, epoch, GroupRuntime(group))


def test_a_shard_is_looked_at_once_however_often_its_look_was_moved() -> None:
    agenda, shard = Agenda(), _shard(1)
    agenda.add(shard, 5.0)
    for at in (4.0, 3.0):
        agenda.sooner(shard, at)
    assert agenda.next_at() == 3.0
    assert agenda.pop_due(10.0, 10) == [shard]
    assert agenda.pop_due(10.0, 10) == []


def test_one_that_is_put_back_after_its_claim_was_lost_is_not_looked_at_beside_its_successor() -> None:
    """A take would name that shard twice."""
    agenda, lost, claimed = Agenda(), _shard(1), _shard(2)
    agenda.add(lost, 1.0)
    assert agenda.pop_due(2.0, 10) == [lost]
    agenda.remove(KEY)
    agenda.add(claimed, 1.0)
    agenda.put(lost, 1.5)
    assert agenda.pop_due(2.0, 10) == [claimed]
