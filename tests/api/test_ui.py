"""The status page: what it answers, what it costs, what it never shows."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from durable_timer.clock import SystemClock
from durable_timer.errors import StoreUnavailable
from durable_timer.models.group import CallbackSpec, GroupRegistration, GroupState, SigningSecretRef, SigningSpec
from durable_timer.models.group import TimerGroupSpec as Spec
from durable_timer.models.ownership import Assignment, Claim, Member, MemberReport
from durable_timer.stores.base import Store
from durable_timer.stores.memory import MemoryStore
from durable_timer_api.handlers.ui import FILES, HEADERS
from durable_timer_api.settings import BridgeSettings
from durable_timer_api.ui.paced import INTERVAL, REST, Paced
from durable_timer_api.ui.status import MEMBERS, ROWS
from tests.api.support import TIMERS, create_body, executing, running_bridge
from tests.support.waiting import eventually

SIGNED = CallbackSpec(signing=SigningSpec(secret_refs=(SigningSecretRef(name="keys", key="one"),)))
PATHS = {"/ui": "page.html", "/ui/app.js": "app.js", "/ui/view.js": "view.js", "/ui/style.css": "style.css"}


async def status(client: aiohttp.ClientSession, **query: str) -> dict[str, Any]:
    """The status once there is one: a request waits for the first reading, but not for ever."""

    async def answered() -> dict[str, Any]:
        async with client.get("/ui/status", params=query) as answer:
            assert answer.status == 200, await answer.text()
            found: dict[str, Any] = await answer.json()
        assert found["total"], "not read yet"
        return found

    return await eventually(answered)


async def join(store: Store, name: str, report: MemberReport | None = None, pool: str = "default") -> str:
    incarnation = uuid4().hex
    await store.join(Member(incarnation, name, pool, None, 0, False, False, report or MemberReport()))
    return incarnation


async def claim(store: Store, incarnation: str, numbers: set[int], pool: str = "default") -> None:
    rows, _ = await store.shards(pool)
    await store.claim([Claim(*row.key, row.epoch) for row in rows if row.shard in numbers], incarnation)


async def register(store: Store, group_id: str, **spec: Any) -> None:
    shards = spec.setdefault("shards", 4)
    pool = spec.get("executor_pool", "default")
    await store.register_group(GroupRegistration(group_id, f"file:{group_id}", shards, pool, Spec(**spec), 1))


def condition(group: dict[str, Any], kind: str) -> tuple[str, str]:
    (seen,) = [seen for seen in group["conditions"] if seen["type"] == kind]
    return seen["status"], seen["reason"]


@pytest.mark.parametrize("path", PATHS)
async def test_each_file_is_served_under_a_strict_policy(client: aiohttp.ClientSession, path: str) -> None:
    async with client.get(path) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == FILES[PATHS[path]]
        assert HEADERS.items() <= answer.headers.items()
        policy = answer.headers["Content-Security-Policy"]
        text = await answer.text()
        etag = answer.headers["ETag"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not [word for word in ("http://", "https://", "innerHTML", "eval(", " style=", " onclick") if word in text]
    async with client.get(path, headers={"If-None-Match": etag}) as answer:
        assert (answer.status, await answer.read()) == (304, b"")


async def test_the_files_name_each_other_relative_to_the_page(client: aiohttp.ClientSession) -> None:
    for path in PATHS:
        async with client.get(path) as answer:
            assert '"/' not in await answer.text(), f"{path} would not work behind a path prefix"


async def test_a_group_that_nobody_serves_needs_attention(client: aiohttp.ClientSession) -> None:
    answer = await status(client)
    (group,) = answer["groups"]
    assert (answer["total"], answer["attention"], answer["members"]) == (1, 1, [])
    assert (group["groupId"], group["owner"], group["shards"], group["owned"]) == ("demo", "file:demo", 4, 0)
    assert condition(group, "ShardsAssigned") == ("False", "NoExecutors")
    assert condition(group, "StoreReachable")[0] == "True"
    assert condition(group, "LatenessWithinObjective")[0] == "Unknown"


async def test_shards_are_shown_by_their_living_owner(client: aiohttp.ClientSession, store: Store) -> None:
    one, two = await join(store, "executor-0"), await join(store, "executor-1")
    await claim(store, one, {0, 1})
    await claim(store, two, {2})
    term = await store.raise_term("default", "planner")
    await store.assign("default", term, [Assignment("demo", 1, two), Assignment("demo", 3, two)])
    answer = await status(client, group="demo")
    assert answer["groups"][0]["owners"] == [{"name": "executor-0", "shards": 2}, {"name": "executor-1", "shards": 1}]
    assert condition(answer["groups"][0], "ShardsAssigned") == ("False", "ShardsUnassigned")
    shards = answer["picked"]["map"]
    assert shards["names"] == ["executor-0", "executor-1"]
    assert (shards["owners"], shards["assigned"][1], shards["assigned"][3]) == ([0, 0, 1, None], 1, 1)
    assert shards["epochs"] == [1, 1, 1, 0]
    assert [(m["name"], m["state"], m["shards"]) for m in answer["members"]] == [
        ("executor-0", "Active", 2),
        ("executor-1", "Active", 1),
    ]


async def test_executors_are_shown_before_there_is_a_group() -> None:
    store = MemoryStore()
    await store.migrate()
    await join(store, "executor-0")
    async with running_bridge(store) as bridge, aiohttp.ClientSession(bridge.url) as client:

        async def shown() -> bool:
            async with client.get("/ui/status") as answer:
                found = await answer.json()
            return (found["total"], [member["name"] for member in found["members"]]) == (0, ["executor-0"])

        await eventually(shown)


async def test_a_dead_owner_counts_as_nobody(client: aiohttp.ClientSession, store: Store) -> None:
    dead = await join(store, "executor-0")
    await claim(store, dead, {0, 1, 2, 3})
    await join(store, "executor-1")
    assert await store.declare_dead(dead, 0)
    answer = await status(client, group="demo")
    assert answer["groups"][0]["owned"] == 0
    assert answer["picked"]["map"]["owners"] == [None] * 4
    assert [(m["name"], m["state"]) for m in answer["members"]] == [("executor-1", "Active"), ("executor-0", "Dead")]


async def test_lateness_secrets_and_pause_are_conditions(store: Store) -> None:
    await register(store, "signed", callback=SIGNED, paused=True)
    me = await join(store, "executor-0", MemberReport("1.2.3", ("signed",), {"demo": 1.5, "signed": 0.2}))
    await claim(store, me, {0, 1, 2, 3})
    async with running_bridge(store) as bridge, aiohttp.ClientSession(bridge.url) as client:
        answer = await status(client)
    demo, signed = answer["groups"]
    assert (demo["lateness"], demo["objective"]) == (1.5, 1.0)
    assert condition(demo, "LatenessWithinObjective") == ("False", "AboveObjective")
    assert condition(demo, "SecretsAvailable") == ("True", "NoSecrets")
    assert condition(demo, "Paused")[0] == "False"
    assert condition(signed, "LatenessWithinObjective")[0] == "True"
    assert condition(signed, "SecretsAvailable") == ("False", "SecretMissing")
    assert condition(signed, "Paused") == ("True", "Paused")
    assert answer["attention"] == 2
    assert (answer["members"][0]["version"], answer["members"][0]["unreadableSecrets"]) == ("1.2.3", 1)


@pytest.mark.parametrize(("read_to", "seen"), [(0, ("Unknown", "Progressing")), (10**9, ("True", "SecretsAvailable"))])
async def test_secrets_are_available_once_they_were_looked_for(
    store: Store, read_to: int, seen: tuple[str, str]
) -> None:
    await register(store, "signed", callback=SIGNED)
    await join(store, "executor-0", MemberReport("1.2.3", change=read_to))
    async with running_bridge(store) as bridge, aiohttp.ClientSession(bridge.url) as client:
        answer = await status(client, search="signed")
    assert condition(answer["groups"][0], "SecretsAvailable") == seen


async def test_a_purging_group_has_no_shards_to_miss(client: aiohttp.ClientSession, store: Store) -> None:
    await store.set_group_state("demo", "file:demo", GroupState.PURGING)

    async def purging() -> bool:
        (group,) = (await status(client))["groups"]
        return bool(group["state"] == "purging" and not group["attention"])

    await eventually(purging)


async def test_counts_are_those_of_the_store(client: aiohttp.ClientSession, store: Store) -> None:
    await client.post(TIMERS, json=create_body(id="due", executeAt="2020-01-01T00:00:00Z"))
    await client.post(TIMERS, json=create_body(id="later"))
    await (await executing(store)).fail_all()

    async def counted() -> Any:
        return (await status(client))["groups"][0]["counts"]

    counts = await eventually(counted)
    assert (counts["pending"], counts["failed"], counts["due"], counts["estimated"]) == (1, 1, 0, [])


async def test_nothing_that_clients_sent_is_shown(client: aiohttp.ClientSession) -> None:
    body = create_body(
        id="mine", callbackUrl="http://target/secret-path", payload="secret-payload", headers={"X-Key": "secret-value"}
    )
    await client.post(TIMERS, json=body)
    async with client.get("/ui/status", params={"group": "demo"}) as answer:
        text = await answer.text()
    assert "secret" not in text
    assert "target" not in text
    assert "mine" not in text


async def test_the_tag_stays_while_only_beats_go_on(client: aiohttp.ClientSession, store: Store) -> None:
    me = await join(store, "executor-0")
    await claim(store, me, {0, 1, 2, 3})
    async with client.get("/ui/status") as answer:
        etag = answer.headers["ETag"]
    await store.beat(me, 1, draining=False, report=None)
    async with client.get("/ui/status", headers={"If-None-Match": etag}) as answer:
        assert answer.status == 304
    await store.beat(me, 2, draining=True, report=None)

    async def drained() -> bool:
        async with client.get("/ui/status", headers={"If-None-Match": etag}) as answer:
            return answer.status == 200 and (await answer.json())["members"][0]["state"] == "Draining"

    await eventually(drained)


@pytest.fixture
async def many() -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a bridge with three pages of groups, of which every tenth is served, and too many members."""
    store = MemoryStore()
    await store.migrate()
    for number in range(2 * ROWS + 10):
        await register(store, f"group-{number:03}", shards=1, executor_pool="some" if number % 10 else "served")
    for number in range(MEMBERS + 5):
        await join(store, f"executor-{number:03}", pool="served")
    await claim(store, (await store.members("served"))[0].incarnation, {0}, pool="served")
    async with running_bridge(store) as bridge, aiohttp.ClientSession(bridge.url) as session:
        yield session


async def test_groups_come_in_pages_and_can_be_found(many: aiohttp.ClientSession) -> None:
    first, last, beyond = [await status(many, page=page) for page in ("1", "3", "999999")]
    assert (first["total"], first["matching"], first["pages"], len(first["groups"])) == (110, 110, 3, ROWS)
    assert [group["groupId"] for group in last["groups"]] == [f"group-{number:03}" for number in range(100, 110)]
    assert beyond["page"] == 3
    found = await status(many, search="GROUP-04", show="attention")
    assert [group["groupId"] for group in found["groups"]] == [f"group-04{number}" for number in range(1, 10)]
    assert (found["total"], found["attention"]) == (110, 99)


async def test_what_is_shown_is_bounded(many: aiohttp.ClientSession) -> None:
    answer = await status(many)
    assert (len(answer["members"]), answer["membersTotal"]) == (MEMBERS, MEMBERS + 5)


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ({"page": "0"}, "page"),
        ({"page": "x"}, "page"),
        ({"show": "none"}, "show"),
        ({"search": "x" * 254}, "search"),
        ({"group": "x" * 64}, "group"),
        ({"other": ""}, "other"),
    ],
)
async def test_a_wrong_parameter_is_named(client: aiohttp.ClientSession, query: dict[str, str], parameter: str) -> None:
    async with client.get("/ui/status", params=query) as answer:
        assert answer.status == 400
        assert [error["parameter"] for error in (await answer.json())["errors"]] == [parameter]


async def test_a_group_that_is_not_there_is_no_error(client: aiohttp.ClientSession) -> None:
    assert (await status(client, group="other"))["picked"] is None


class Watched(MemoryStore):
    """Notes the calls that the page costs."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.away = False

    async def members(self, pool: str) -> list[Member]:
        self._note("members")
        return await super().members(pool)

    async def shards(self, pool: str) -> Any:
        self._note("shards")
        return await super().shards(pool)

    async def counts(self, group_id: str) -> Any:
        self._note("counts")
        return await super().counts(group_id)

    async def groups(self, since: int | None) -> Any:
        if self.away:
            raise StoreUnavailable("away")
        return await super().groups(since)

    def _note(self, call: str) -> None:
        if self.away:
            raise StoreUnavailable("away")
        self.calls.append(call)


@pytest.fixture
async def watched() -> AsyncIterator[tuple[Watched, aiohttp.ClientSession]]:
    store = Watched()
    await store.migrate()
    await register(store, "demo")
    settings = BridgeSettings(
        groups_interval=timedelta(milliseconds=20), groups_stale_after=timedelta(milliseconds=200)
    )
    async with running_bridge(store, settings) as bridge, aiohttp.ClientSession(bridge.url) as session:
        yield store, session


async def test_many_who_look_cost_what_one_does(watched: tuple[Watched, aiohttp.ClientSession]) -> None:
    store, client = watched
    began = asyncio.get_running_loop().time()
    await asyncio.gather(*(status(client, page=str(1 + number % 3)) for number in range(200)))
    seconds = asyncio.get_running_loop().time() - began
    pieces = 1 + int(seconds / INTERVAL)
    assert store.calls.count("shards") <= pieces
    assert store.calls.count("counts") <= pieces


async def test_nobody_who_looks_costs_nothing(watched: tuple[Watched, aiohttp.ClientSession]) -> None:
    store, _ = watched
    assert store.calls == []


async def test_a_store_that_is_away_is_said_and_the_groups_stay(
    watched: tuple[Watched, aiohttp.ClientSession],
) -> None:
    store, client = watched
    await status(client)
    store.away = True

    async def said() -> bool:
        answer = await status(client)
        (group,) = answer["groups"]
        return answer["stores"] == [{"name": "default", "reachable": False}] and (
            condition(group, "StoreReachable"), condition(group, "ShardsAssigned")
        ) == (("False", "StoreUnreachable"), ("Unknown", "NoData"))  # fmt: skip

    await eventually(said)


class Hands(SystemClock):
    """A clock that is set."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 100.0

    def monotonic(self) -> float:
        return self.seconds


async def test_a_piece_of_work_rests_as_long_as_it_took_many_times_over() -> None:
    clock, begun = Hands(), []

    async def work() -> None:
        begun.append(clock.seconds)
        clock.seconds += 2.0

    paced = Paced(work, clock)
    await paced.turn(5)
    clock.seconds += 2 * REST - 0.5
    await paced.turn(5)
    assert begun == [100.0]
    clock.seconds += 1.0
    await paced.turn(5)
    assert len(begun) == 2


async def test_a_fault_is_told_to_those_who_wait() -> None:
    async def work() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await Paced(work, Hands()).turn(5)
