"""Lists and their pages; cancels and redrives of many."""

from typing import Any

import aiohttp
import pytest

from durable_timer.models.group import GroupRegistration, TimerGroupSpec
from durable_timer.models.timer import TimerState
from durable_timer.stores.base import Store
from tests.api.support import GROUP, HOOK, TIMERS, create_body, executing


async def create(client: aiohttp.ClientSession, *bodies: dict[str, Any]) -> None:
    async with client.post(f"{TIMERS}:batch", json={"timers": bodies}) as answer:
        assert {result["status"] for result in (await answer.json())["results"]} == {201}


async def pages(client: aiohttp.ClientSession, path: str = TIMERS, **params: str | list[str]) -> list[list[str]]:
    """The ids on each page."""
    found: list[list[str]] = []
    token = None
    while True:
        query = [
            (name, value)
            for name, values in params.items()
            for value in ([values] if isinstance(values, str) else values)
        ]
        async with client.get(path, params=query + ([("pageToken", token)] if token else [])) as answer:
            assert answer.status == 200, await answer.text()
            body = await answer.json()
        found.append([item.get("id", item.get("groupId")) for item in body.get("timers", body.get("groups"))])
        token = body["nextPageToken"]
        if token is None:
            return found


def day(number: int) -> str:
    return f"2030-01-{number:02}T00:00:00Z"


async def test_pages_in_each_order(any_client: aiohttp.ClientSession, any_store: Store) -> None:
    executor = await executing(any_store)
    for number, state in enumerate((TimerState.FAILED, TimerState.COMPLETED, TimerState.FAILED)):
        await create(any_client, create_body(id=f"done{2 - number}", executeAt=None, delay="0s"))
        await executor.bring(f"done{2 - number}", state)
    await create(any_client, *(create_body(id=f"t{number}", executeAt=day(9 - number)) for number in range(5)))
    assert await pages(any_client, pageSize="3") == [["done0", "done1", "done2"], ["t0", "t1", "t2"], ["t3", "t4"]]
    assert await pages(any_client, pageSize="2", state="pending") == [["t4", "t3"], ["t2", "t1"], ["t0"]]
    assert await pages(any_client, dueFrom=day(6), dueBefore=day(8)) == [["t3", "t2"]]
    assert await pages(any_client, state="failed") == [["done2", "done0"]]
    assert await pages(any_client, state=["failed", "completed"], pageSize="1") == [["done2"], ["done1"], ["done0"]]
    assert await pages(any_client, state=["failed", "pending"], idPrefix="t") == [["t0", "t1", "t2", "t3", "t4"]]
    assert await pages(any_client, idPrefix="nothing") == [[]]


async def test_labels(any_client: aiohttp.ClientSession) -> None:
    await create(
        any_client,
        create_body(id="a", labels={"team": "x", "app.example/tier": "1"}),
        create_body(id="b", labels={"team": "x"}),
        create_body(id="c", labels={"team": ""}),
    )
    assert await pages(any_client, label="team=x") == [["a", "b"]]
    assert await pages(any_client, label=["team=x", "app.example/tier=1"]) == [["a"]]
    assert await pages(any_client, label="team=") == [["c"]]


async def test_views(client: aiohttp.ClientSession) -> None:
    await create(client, create_body(id="a", payload={"x": 1}), create_body(id="b", payloadBase64="AAEC"))
    for view, fields in (("basic", set[str]()), ("full", {"payload", "payloadBase64"})):
        async with client.get(TIMERS, params={"view": view}) as answer:
            timers = (await answer.json())["timers"]
        assert {name for timer in timers for name in timer if name.startswith("payload")} == fields


async def test_a_page_of_full_timers_ends_early_when_it_is_large(client: aiohttp.ClientSession, store: Store) -> None:
    spec = TimerGroupSpec.model_validate({"shards": 4, "payload": {"maxBytes": 2**20}})
    await store.register_group(GroupRegistration("large", "file:large", 4, "default", spec, 1))
    path = "/api/v1/groups/large/timers"
    ids = [f"t{number:02}" for number in range(36)]
    for timer_id in ids:
        async with client.post(path, json=create_body(id=timer_id, payload="x" * (2**20 - 1024))) as answer:
            assert answer.status == 201
    found = await pages(client, path, view="full")
    assert [len(page) for page in found] == [16, 16, 4]
    assert [timer_id for page in found for timer_id in page] == ids


@pytest.mark.parametrize(
    "other", [{"state": "pending"}, {"idPrefix": "t"}, {"label": "a=b"}, {"dueFrom": "2030-01-01T00:00:00Z"}]
)
async def test_a_token_goes_with_its_filter_alone(client: aiohttp.ClientSession, other: dict[str, str]) -> None:
    await create(client, *(create_body(id=f"t{number}") for number in range(3)))
    async with client.get(TIMERS, params={"pageSize": 1}) as answer:
        token = (await answer.json())["nextPageToken"]
    async with client.get(TIMERS, params={"pageToken": token, **other}) as answer:
        assert (answer.status, (await answer.json())["code"]) == (400, "INVALID_PAGE_TOKEN")
    async with client.get(TIMERS, params={"pageToken": token, "pageSize": 1000, "view": "full"}) as answer:
        assert [timer["id"] for timer in (await answer.json())["timers"]] == ["t1", "t2"]


async def test_groups_have_pages_and_views(client: aiohttp.ClientSession, store: Store) -> None:
    for number in range(3):
        spec = TimerGroupSpec(shards=2)
        await store.register_group(GroupRegistration(f"g{number}", "file:x", 2, "default", spec, 1))
    async with client.get("/api/v1/groups/g2") as answer:
        assert answer.status == 200
    assert await pages(client, "/api/v1/groups", pageSize="3") == [["demo", "g0", "g1"], ["g2"]]
    for view, fields in (("basic", set[str]()), ("full", {"counts", "members"})):
        async with client.get("/api/v1/groups", params={"view": view}) as answer:
            groups = (await answer.json())["groups"]
        assert {name for group in groups for name in group} & {"counts", "members"} == fields


async def test_a_group_counts_its_timers_and_names_its_executors(
    any_client: aiohttp.ClientSession, any_store: Store
) -> None:
    executor = await executing(any_store)
    for timer_id, state in (("a", TimerState.FAILED), ("b", TimerState.COMPLETED), ("c", TimerState.RUNNING)):
        await create(any_client, create_body(id=timer_id, executeAt=None, delay="0s"))
        await executor.bring(timer_id, state)
    await create(any_client, create_body(id="d"), create_body(id="e", executeAt="2020-01-01T00:00:00Z"))
    async with any_client.get(f"/api/v1/groups/{GROUP}") as answer:
        group = await answer.json()
    oldest = group["counts"].pop("oldestDueAt")
    assert oldest >= group["stateSince"]
    assert group["counts"] == {"pending": 2, "due": 1, "running": 1, "completed": 1, "failed": 1, "estimated": []}
    assert group["members"] == [{"name": "executor-0", "state": "Active", "shards": "0-3"}]
    assert (group["owner"], group["state"], group["shards"]) == ("file:demo", "active", 4)
    assert group["spec"]["shards"] == 4


async def cancelled(client: aiohttp.ClientSession, body: dict[str, Any], query: str = "") -> int:
    """How many a cancel by filter acted on, over all its pages."""
    count = 0
    while True:
        async with client.post(f"{TIMERS}:cancel{query}", json=body) as answer:
            assert answer.status == 200, await answer.text()
            found = await answer.json()
        count += int(found["count"])
        if found["nextPageToken"] is None:
            return count
        body = {**body, "pageToken": found["nextPageToken"]}


async def test_cancel_by_filter(any_client: aiohttp.ClientSession, any_store: Store) -> None:
    executor = await executing(any_store)
    for timer_id, state in (("run", TimerState.RUNNING), ("failed", TimerState.FAILED)):
        await create(any_client, create_body(id=timer_id, executeAt=None, delay="0s"))
        await executor.bring(timer_id, state)
    await create(any_client, *(create_body(id=f"t{number:04}", labels={"k": "v"}) for number in range(1000)))
    await create(any_client, *(create_body(id=f"u{number:04}") for number in range(200)))
    assert await cancelled(any_client, {"filter": {"idPrefix": "t", "labels": {"k": "w"}}}) == 0
    assert await cancelled(any_client, {"filter": {"state": ["pending"], "dueBefore": "2029-01-01T00:00:00Z"}}) == 0
    assert await cancelled(any_client, {"filter": {"state": ["pending"]}}) == 1200
    assert await cancelled(any_client, {"filter": {}}) == 1
    assert await pages(any_client) == [["run"]]
    assert await cancelled(any_client, {"filter": {}}, "?whenRunning=stop") == 1
    async with any_client.get(f"/api/v1/groups/{GROUP}") as answer:
        assert (await answer.json())["counts"]["running"] == 1


async def test_a_cancel_of_ids_answers_each(any_client: aiohttp.ClientSession, any_store: Store) -> None:
    executor = await executing(any_store)
    await create(any_client, create_body(id="run", executeAt=None, delay="0s"))
    await executor.bring("run", TimerState.RUNNING)
    await create(any_client, create_body(id="a"))
    async with any_client.post(f"{TIMERS}:cancel", json={"ids": ["a", "run", "absent", "a"]}) as answer:
        results = (await answer.json())["results"]
    assert [(result["id"], result["status"], result.get("problem", {}).get("code")) for result in results] == [
        ("a", 204, None), ("run", 409, "TIMER_EXECUTING"), ("absent", 404, "TIMER_NOT_FOUND"), ("a", 404, "TIMER_NOT_FOUND"),
    ]  # fmt: skip
    async with any_client.post(f"{TIMERS}:cancel?whenRunning=stop", json={"ids": ["run"]}) as answer:
        assert (await answer.json())["results"] == [{"id": "run", "status": 202}]


async def test_redrive_by_filter_takes_what_had_failed_before_it_began(
    any_client: aiohttp.ClientSession, any_store: Store
) -> None:
    executor = await executing(any_store)
    for timer_id in ("x", "a"):
        await create(any_client, create_body(id=timer_id, executeAt=None, delay="0s", callbackUrl=HOOK))
        await executor.bring(timer_id, TimerState.FAILED)
    async with any_client.post(f"{TIMERS}:redrive", json={"filter": {"idPrefix": "x"}}) as answer:
        assert await answer.json() == {"count": 1, "nextPageToken": None}
    async with any_client.post(f"{TIMERS}:redrive", json={"filter": {}}) as answer:
        assert await answer.json() == {"count": 1, "nextPageToken": None}
    async with any_client.post(f"{TIMERS}:redrive", json={"filter": {}}) as answer:
        assert await answer.json() == {"count": 0, "nextPageToken": None}
    async with any_client.get(f"{TIMERS}/a") as answer:
        timer = await answer.json()
    assert (timer["state"], timer["occurrence"], timer["lastStatus"]) == ("pending", 2, 418)


async def test_a_redrive_in_pieces_does_not_go_round_in_circles(client: aiohttp.ClientSession, store: Store) -> None:
    executor = await executing(store)
    await create(client, *(create_body(id=f"t{number:04}", executeAt=None, delay="0s") for number in range(1000)))
    await create(client, create_body(id="u0", executeAt=None, delay="0s"))
    await executor.fail_all()
    async with client.post(f"{TIMERS}:redrive", json={"filter": {}}) as answer:
        first = await answer.json()
    await executor.fail_all()
    async with client.post(f"{TIMERS}:redrive", json={"filter": {}, "pageToken": first["nextPageToken"]}) as answer:
        second = await answer.json()
    assert (first["count"], second) == (1000, {"count": 1, "nextPageToken": None})


async def test_ranges_as_wide_as_time(any_client: aiohttp.ClientSession) -> None:
    await create(any_client, create_body(id="a"))
    widest = {"dueFrom": "0001-01-01T00:00:00Z", "dueBefore": "9999-12-31T23:59:59.999999Z"}
    assert await pages(any_client, **widest) == [["a"]]
    assert await cancelled(any_client, {"filter": widest}) == 1
    for dueless in ({"dueFrom": widest["dueBefore"]}, {"dueBefore": widest["dueFrom"]}):
        assert await pages(any_client, **dueless) == [[]]
