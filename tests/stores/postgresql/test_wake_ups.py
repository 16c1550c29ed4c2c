"""Wake-ups between processes: gathered, bounded, and made good for after a lost connection."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from durable_timer.models.group import GroupState
from durable_timer.models.results import IfExists
from durable_timer.stores.postgresql.store import PostgresStore
from durable_timer.stores.postgresql.wakeups import CHANNEL, PAYLOAD_MAX, SOON, payload
from tests.stores.contract.world import LATER, NOW, World
from tests.stores.postgresql.conftest import OpenStore
from tests.support.waiting import eventually

pytestmark = pytest.mark.postgresql


@dataclass
class Heard:
    calls: list[tuple[str, frozenset[int]]] = field(default_factory=list)

    def __call__(self, group_id: str, shards: Collection[int]) -> None:
        self.calls.append((group_id, frozenset(shards)))


@pytest.fixture
async def heard(open_store: OpenStore, world: World) -> Heard:
    """A listener in another process, which hears already."""
    heard = Heard()
    open_store().listen(heard)

    async def told() -> bool:
        await world.create(world.id_in(0))
        return bool(heard.calls)

    await eventually(told)
    heard.calls.clear()
    return heard


async def test_a_burst_of_creates_is_few_notifications(world: World, connection: asyncpg.Connection) -> None:
    notified: list[str] = []
    await connection.add_listener(CHANNEL, lambda *message: notified.append(message[3]))
    for _ in range(50):
        await world.create(world.id_in(1), world.id_in(2))
    await eventually(lambda: {"1", "2"} <= set(" ".join(notified).split()))
    assert len(notified) < 50


async def test_what_is_due_late_wakes_nobody(world: World, heard: Heard) -> None:
    await world.create(world.id_in(1), delay=SOON + timedelta(seconds=1))
    await world.create(world.id_in(2), execute_at=datetime.now(UTC) + LATER)
    await world.create(world.id_in(3), suspended=True)
    await world.create(world.id_in(0), delay=NOW)
    await eventually(lambda: any(0 in shards for _, shards in heard.calls))
    assert {shard for _, shards in heard.calls for shard in shards} == {0}


async def test_a_listener_that_was_cut_off_is_told_to_look_everywhere(
    world: World, heard: Heard, connection: asyncpg.Connection
) -> None:
    other = World(world.store, world.open, world.pass_time)
    await other.register()
    await other.store.set_group_state(other.group_id, other.owner, GroupState.DELETED)
    await world.create(world.id_in(1), delay=NOW)
    await eventually(lambda: any(1 in shards for _, shards in heard.calls))
    heard.calls.clear()
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await eventually(lambda: (world.group_id, frozenset()) in heard.calls)
    assert (other.group_id, frozenset()) not in heard.calls

    async def heard_again() -> bool:
        await world.store.create([world.new(world.id_in(2))], IfExists.FAIL)
        return any(2 in shards for _, shards in heard.calls)

    await eventually(heard_again)


async def test_who_ended_listening_hears_nothing(world: World, heard: Heard, open_store: OpenStore) -> None:
    store = open_store()
    deaf = Heard()
    end = store.listen(deaf)
    end()
    end()
    store.listen(alert := Heard())

    async def told() -> bool:
        await world.create(world.id_in(1))
        return bool(alert.calls)

    await eventually(told)
    assert deaf.calls == []


async def test_a_store_can_be_closed_while_the_server_refuses_it(
    open_store: OpenStore, connection: asyncpg.Connection
) -> None:
    store = open_store("postgresql://postgres@127.0.0.1:1/none")
    store.listen(Heard())
    await asyncio.sleep(0)
    await store.close()


async def test_no_connection_is_held_for_wake_ups_before_the_first(
    open_store: OpenStore, connection: asyncpg.Connection
) -> None:
    store: PostgresStore = open_store()
    await store.migrate()
    await store.ping()
    count = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
    )
    assert await connection.fetchval(count) == 2


@pytest.mark.parametrize("shards", [[], [3], [7, 1]])
def test_a_payload_names_group_and_shards(shards: list[int]) -> None:
    assert payload("g", shards).split() == ["g", *map(str, sorted(shards))]


def test_a_payload_that_is_too_long_is_the_group_alone() -> None:
    assert payload("g" * 63, range(4096)) == "g" * 63
    assert len(payload("g", range(1600))) <= PAYLOAD_MAX
    assert payload("g", None) == "g"
