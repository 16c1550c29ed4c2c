"""Creating, reading and changing single timers, and batches of them."""

import asyncio
import gzip
import json
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from durable_timer.models.group import GroupRegistration, TimerGroupSpec
from durable_timer.models.results import IfExists, Target
from durable_timer.models.timer import ManagedBy, NewTimer, Schedule, Timer, TimerChange
from durable_timer.planning.sharding import shard_of
from durable_timer.stores.base import Store
from tests.api.support import GROUP, HOOK, LATER, TIMERS, Bridge, create_body

FAR = datetime(2190, 1, 1, tzinfo=UTC)
JSON = {"Content-Type": "application/json"}

SHAPES: list[dict[str, Any]] = [
    {},
    {"payload": None},
    {"payload": {"b": [1, 2.5, "ü", None, True], "a": {"z": 1e300, "y": -0.0}}},
    {"payloadBase64": "AAEC/w=="},
    {"payloadBase64": "", "contentType": "text/plain"},
    {"payloadBase64": "eyJhIiA6IDF9", "contentType": "application/json"},
    {"payload": [1], "contentType": "application/vnd.acme+json"},
    {"executeAt": None, "delay": "1h30m"},
    {"executeAt": None, "schedule": {"cron": "0 9 * * 1-5", "timeZone": "Europe/Berlin"}},
    {
        "executeAt": None,
        "schedule": {
            "cron": "*/5 * * * *",
            "missed": "Skip",
            "startAt": "2029-01-01T00:00:00+01:00",
            "endAt": "2031-01-01T00:00:00Z",
        },
    },
    {
        "callbackMethod": "PUT",
        "callbackFormat": "Raw",
        "headers": {"X-B": "1", "authorization": "Bearer x"},
        "labels": {"app.example/a": "x", "b": ""},
        "retryPolicy": {"maxAttempts": 3, "backoffMultiplier": 1.5, "maxInterval": "90s"},
        "callbackTimeoutSeconds": 30,
        "startingDeadline": "90s",
        "suspend": True,
    },
]


async def created(client: aiohttp.ClientSession, **fields: Any) -> dict[str, Any]:
    async with client.post(TIMERS, json=create_body(**fields)) as answer:
        assert answer.status == 201, await answer.text()
        timer: dict[str, Any] = await answer.json()
        return timer


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_what_get_answered_can_be_sent_back_and_changes_nothing(
    any_client: aiohttp.ClientSession, method: str
) -> None:
    for number, fields in enumerate(SHAPES):
        path = f"{TIMERS}/t{number}"
        await any_client.post(TIMERS, json=body_of(fields, f"t{number}"))
        async with any_client.get(path) as answer:
            text, tag = await answer.text(), answer.headers["ETag"]
        for body in (text, json.dumps(json.loads(text), separators=(",", ":"), sort_keys=True)):
            async with any_client.request(method, path, data=body, headers=JSON) as answer:
                assert answer.status == 200, await answer.text()
                assert (await answer.text(), answer.headers["ETag"]) == (text, tag)


async def test_an_item_of_a_list_can_be_sent_back_and_changes_nothing(any_client: aiohttp.ClientSession) -> None:
    for number, fields in enumerate(SHAPES[2:]):
        await created(any_client, id=f"t{number}", **fields)
    async with any_client.get(TIMERS) as answer:
        timers = (await answer.json())["timers"]
    for timer in timers:
        async with any_client.put(f"{TIMERS}/{timer['id']}", json=timer) as answer:
            assert answer.status == 200, await answer.text()
            assert (await answer.json())["version"] == timer["version"]


@pytest.mark.parametrize("schedule", [None, Schedule("* * * * *", start_at=FAR)], ids=["one-shot", "schedule"])
async def test_a_time_beyond_the_bound_can_be_kept_but_not_given(bridge: Bridge, schedule: Schedule | None) -> None:
    """A timer may have one: another bridge judged it by another clock."""
    far = NewTimer(
        group_id=GROUP, timer_id="a", shard=shard_of("a", 4), callback_url=HOOK, fingerprint=bytes(16),
        execute_at=FAR, schedule=schedule,
    )  # fmt: skip
    await bridge.store.create([far], IfExists.FAIL)
    async with aiohttp.ClientSession(bridge.url) as client:
        async with client.get(f"{TIMERS}/a") as answer:
            text = await answer.text()
        async with client.put(f"{TIMERS}/a", data=text, headers=JSON) as answer:
            assert (answer.status, await answer.text()) == (200, text)
        later = "2191-01-01T00:00:00Z"
        for field, change in (("/executeAt", later), ("/schedule", {"cron": "* * * * *", "startAt": later})):
            body = json.loads(text) | {field.removeprefix("/"): change}
            async with client.put(f"{TIMERS}/a", json=body) as answer:
                assert answer.status == 400
                assert [wrong["pointer"] for wrong in (await answer.json())["errors"]] == [field]
        async with client.put(f"{TIMERS}/b", data=text.replace('"id":"a"', '"id":"b"'), headers=JSON) as answer:
            assert answer.status == 404


async def test_a_payload_comes_back_byte_for_byte(any_client: aiohttp.ClientSession) -> None:
    payload = '{ "b":1.50,\n\t"a": [ "\\u00e9", 1E2, 18446744073709551615 ] , "ü":""}'
    body = f'{{"id": "a", "executeAt": "{LATER}", "payload" : {payload} , "callbackUrl": "{HOOK}"}}'
    async with any_client.post(TIMERS, data=body.encode(), headers=JSON) as answer:
        assert answer.status == 201, await answer.text()
        assert payload in await answer.text()
    async with any_client.get(f"{TIMERS}/a") as answer:
        assert payload in await answer.text()


async def test_a_create_answers_its_timer_with_location_and_etag(client: aiohttp.ClientSession) -> None:
    async with client.post(TIMERS, json=create_body(headers={"B": "secret", "A": "x"}, labels={"k": "v"})) as answer:
        timer = await answer.json()
    assert answer.headers["Location"] == f"{TIMERS}/{timer['id']}"
    assert answer.headers["ETag"].endswith('.1"')
    assert timer["id"][14] == "7"
    assert timer["headerNames"] == ["A", "B"]
    assert "secret" not in json.dumps(timer)
    async with client.get(answer.headers["Location"]) as again:
        assert await again.json() == timer
        assert again.headers["ETag"] == answer.headers["ETag"]


async def test_a_finer_time_is_rounded_up(client: aiohttp.ClientSession) -> None:
    timer = await created(client, executeAt="2030-01-01T02:00:00.0000001+02:00")
    assert timer["executeAt"] == "2030-01-01T00:00:00.000001Z"


async def test_the_past_is_due_at_once(client: aiohttp.ClientSession) -> None:
    timer = await created(client, executeAt="2001-01-01T00:00:00Z")
    assert timer["executeAt"] == "2001-01-01T00:00:00.000000Z"
    assert timer["nextAttemptAt"] == timer["createdAt"]


SAME = [
    ({"executeAt": "2030-01-01T00:00:00Z"}, {"executeAt": "2030-01-01T01:00:00.000000+01:00"}),
    ({"executeAt": None, "delay": "90s"}, {"executeAt": None, "delay": "1m30s"}),
    ({"payload": {"a": 1, "b": [1.0]}}, {"payload": {"b": [1], "a": 1.0}}),
    ({"payloadBase64": "eyJhIjogMX0=", "contentType": "application/json"}, {"payload": {"a": 1}}),
    ({"headers": {"A": "x", "B": "y"}}, {"headers": {"b": "y", "a": "x"}}),
    ({"labels": {"a": "x", "b": "y"}}, {"labels": {"b": "y", "a": "x"}}),
    ({"retryPolicy": {"maxInterval": "120s"}}, {"retryPolicy": {"maxInterval": "2m", "maxAttempts": None}}),
    ({"labels": {}, "groupId": GROUP}, {"headers": {}, "retryPolicy": {}}),
]

DIFFERENT: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"executeAt": "2030-01-01T00:00:00.000001Z"}),
    ({"executeAt": None, "delay": "1s"}, {"executeAt": None, "delay": "2s"}),
    ({}, {"payload": None}),
    ({"payload": 1}, {"payload": "1"}),
    ({"payload": "AAEC"}, {"payloadBase64": "AAEC"}),
    ({}, {"suspend": False}),
    ({}, {"callbackMethod": "POST"}),
    ({}, {"retryPolicy": {"maxAttempts": 200}}),
    ({}, {"callbackTimeoutSeconds": 10}),
    ({"headers": {"A": "x"}}, {"headers": {"A": "X"}}),
    ({"executeAt": None, "schedule": {"cron": "0 9 * * *"}}, {"executeAt": None, "schedule": {"cron": "1 9 * * *"}}),
]


def body_of(fields: dict[str, Any], timer_id: str = "a") -> dict[str, Any]:
    body = create_body(id=timer_id, **fields)
    return body | {"payload": None} if "payload" in fields and fields["payload"] is None else body


@pytest.mark.parametrize(("first", "second"), SAME)
async def test_the_same_create_again(
    client: aiohttp.ClientSession, first: dict[str, Any], second: dict[str, Any]
) -> None:
    async with client.post(TIMERS, json=body_of(first)) as answer:
        assert answer.status == 201
        timer = await answer.json()
    async with client.post(TIMERS, json=body_of(second)) as answer:
        assert answer.status == 200, await answer.text()
        assert await answer.json() == timer


@pytest.mark.parametrize(("first", "second"), DIFFERENT)
async def test_another_create_under_the_same_id(
    client: aiohttp.ClientSession, first: dict[str, Any], second: dict[str, Any]
) -> None:
    async with client.post(TIMERS, json=body_of(first)) as answer:
        assert answer.status == 201, await answer.text()
        timer = await answer.json()
    async with client.post(TIMERS, json=body_of(second)) as answer:
        assert answer.status == 409
        problem = await answer.json()
    assert (problem["code"], problem["timer"]) == ("TIMER_EXISTS", timer)


async def test_a_change_keeps_what_is_absent_and_resets_what_is_null(any_client: aiohttp.ClientSession) -> None:
    await created(any_client, id="a", **SHAPES[-1], payload={"x": 1})
    change = {
        "executeAt": "2032-01-01T00:00:00Z",
        "callbackMethod": None,
        "headers": {"C": "3"},
        "labels": None,
        "retryPolicy": {"maxAttempts": 7},
        "callbackTimeoutSeconds": None,
        "startingDeadline": None,
        "suspend": False,
        "payload": None,
    }
    async with any_client.put(f"{TIMERS}/a", json=change) as answer:
        timer = await answer.json()
    assert answer.status == 200, timer
    expected = {
        "executeAt": "2032-01-01T00:00:00.000000Z",
        "nextAttemptAt": "2032-01-01T00:00:00.000000Z",
        "occurrence": 2,
        "callbackMethod": None,
        "callbackFormat": "Raw",
        "headerNames": ["C"],
        "labels": {},
        "retryPolicy": {"maxAttempts": 7},
        "callbackTimeoutSeconds": None,
        "startingDeadline": None,
        "suspend": False,
        "payload": None,
        "version": 2,
    }
    assert {name: timer[name] for name in expected} == expected


async def test_payloads_are_exchanged_and_removed(client: aiohttp.ClientSession) -> None:
    await created(client, id="a", payload={"x": 1})
    found = []
    for change in (
        {"payloadBase64": "AAEC"},
        {"contentType": "application/octet-stream"},
        {"payload": {"x": 2}},
        {"payloadBase64": None},
        {"payload": [3], "payloadBase64": None},
    ):
        async with client.patch(f"{TIMERS}/a", json=change) as answer:
            timer = await answer.json()
            assert answer.status == 200, timer
        found.append((timer.get("payload", "none"), timer.get("payloadBase64"), timer["contentType"], timer["version"]))
    assert found == [
        ("none", "AAEC", "application/octet-stream", 2),
        ("none", "AAEC", "application/octet-stream", 2),
        ({"x": 2}, None, None, 3),
        ("none", None, None, 4),
        ([3], None, None, 5),
    ]


async def test_a_schedule_becomes_a_one_shot_and_back(any_client: aiohttp.ClientSession) -> None:
    first = await created(any_client, id="a", executeAt=None, schedule={"cron": "0 9 * * *"})
    assert first["schedule"] == {
        "cron": "0 9 * * *", "timeZone": "UTC", "missed": "Run", "startAt": None, "endAt": None,
    }  # fmt: skip
    async with any_client.put(f"{TIMERS}/a", json={"schedule": None}) as answer:
        one_shot = await answer.json()
    assert "schedule" not in one_shot
    assert one_shot["executeAt"] == first["executeAt"]
    async with any_client.put(f"{TIMERS}/a", json={"schedule": {"cron": "30 9 * * *"}}) as answer:
        again = await answer.json()
    assert again["executeAt"].endswith("09:30:00.000000Z")
    async with any_client.put(f"{TIMERS}/a", json={"executeAt": "2029-05-05T05:05:05Z"}) as answer:
        moved = await answer.json()
    assert (moved["executeAt"], moved["schedule"]) == ("2029-05-05T05:05:05.000000Z", again["schedule"])


async def test_if_match(any_client: aiohttp.ClientSession) -> None:
    await created(any_client, id="a")
    path = f"{TIMERS}/a"
    async with any_client.get(path) as answer:
        tag = answer.headers["ETag"]
    async with any_client.put(path, json={"suspend": True}, headers={"If-Match": tag}) as answer:
        assert answer.status == 200
        newer = answer.headers["ETag"]
    assert newer != tag
    for method, suffix in (("PUT", ""), ("PATCH", ""), ("DELETE", ""), ("POST", ":run"), ("POST", ":redrive")):
        for stale in (tag, '"another"', 'W/"weak"'):
            async with any_client.request(method, path + suffix, json={}, headers={"If-Match": stale}) as answer:
                assert (answer.status, (await answer.json())["code"]) == (412, "VERSION_MISMATCH")
    async with any_client.post(f"{path}:run", headers={"If-Match": "*"}) as answer:
        assert answer.status == 200
        newest = answer.headers["ETag"]
    async with any_client.delete(path, headers={"If-Match": newest}) as answer:
        assert answer.status == 204
    async with any_client.delete(path, headers={"If-Match": "*"}) as answer:
        assert answer.status == 404


async def test_changes_of_a_payload_do_not_overwrite_each_other_unseen(any_client: aiohttp.ClientSession) -> None:
    await created(any_client, id="a", payload={"n": -1})

    async def put(number: int) -> int:
        async with any_client.put(f"{TIMERS}/a", json={"payload": {"n": number}}) as answer:
            assert answer.status in {200, 409}, await answer.text()
            if answer.status == 200:
                assert (await answer.json())["payload"] == {"n": number}
            return answer.status

    statuses = await asyncio.gather(*(put(number) for number in range(8)))
    async with any_client.get(f"{TIMERS}/a") as answer:
        assert (await answer.json())["version"] == 1 + statuses.count(200)


async def test_a_batch_answers_each_item_in_order(any_client: aiohttp.ClientSession) -> None:
    await created(any_client, id="there")
    items = [
        create_body(id="new", payload={"x": 1}),
        create_body(id="there"),
        create_body(id="there", callbackUrl="http://other.example"),
        create_body(id="twice"),
        create_body(id="twice"),
        create_body(id="twice", payload=1),
        create_body(),
        create_body(id="k8s:x"),
    ]
    async with any_client.post(f"{TIMERS}:batch", json={"timers": items}) as answer:
        assert answer.status == 200
        results = (await answer.json())["results"]
    assert [result["status"] for result in results] == [201, 200, 409, 201, 200, 409, 201, 400]
    assert [result["problem"]["code"] for result in results if "problem" in result] == [
        "TIMER_EXISTS", "TIMER_EXISTS", "INVALID_INPUT",
    ]  # fmt: skip
    assert "payload" not in results[0]["timer"]
    assert results[5]["problem"]["timer"]["id"] == "twice"


async def test_a_batch_replaces(any_client: aiohttp.ClientSession) -> None:
    await created(any_client, id="a", payload=1)
    body = {"timers": [create_body(id="a", payload=2), create_body(id="b")]}
    for rule, statuses, payload in (("keep", [200, 201], 1), ("replace", [200, 200], 2)):
        async with any_client.post(f"{TIMERS}:batch?ifExists={rule}", json=body) as answer:
            assert [result["status"] for result in (await answer.json())["results"]] == statuses
        async with any_client.get(f"{TIMERS}/a") as answer:
            assert (await answer.json())["payload"] == payload


async def test_a_thousand_items_gzipped(client: aiohttp.ClientSession) -> None:
    items = [create_body(id=f"t{number:04}", payload="x" * 1000) for number in range(1000)]
    body = gzip.compress(json.dumps({"timers": items}).encode())
    async with client.post(f"{TIMERS}:batch", data=body, headers=JSON | {"Content-Encoding": "gzip"}) as answer:
        results = (await answer.json())["results"]
    assert [result["status"] for result in results] == [201] * 1000
    assert [result["timer"]["id"] for result in results] == [item["id"] for item in items]


async def test_single_creates_at_once_each_get_their_own_answer(any_client: aiohttp.ClientSession) -> None:
    async def create(number: int) -> int:
        body = create_body(id=f"t{number % 50}", payload={"n": number % 50})
        async with any_client.post(TIMERS, json=body) as answer:
            timer = await answer.json()
            assert (timer["id"], timer["payload"]) == (f"t{number % 50}", {"n": number % 50})
            return answer.status

    statuses = await asyncio.gather(*(create(number) for number in range(100)))
    assert sorted(statuses) == [200] * 50 + [201] * 50


async def test_a_paused_group_accepts(client: aiohttp.ClientSession, store: Store) -> None:
    spec = TimerGroupSpec(shards=4, paused=True)
    await store.register_group(GroupRegistration(GROUP, "file:demo", 4, "default", spec, 2))
    await created(client, id="a")


async def test_payload_rules_of_the_group(client: aiohttp.ClientSession, store: Store) -> None:
    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
    spec = TimerGroupSpec.model_validate({"shards": 4, "payload": {"maxBytes": 1024, "schema": schema}})
    await store.register_group(GroupRegistration("strict", "file:strict", 4, "default", spec, 1))
    path = "/api/v1/groups/strict/timers"
    found = []
    payloads: list[object] = [{"n": 1}, {"n": 1.0}, {"n": "x"}, {}, [], {"n": 1, "x": "y" * 1024}]
    for payload in payloads:
        async with client.post(path, json=create_body(payload=payload)) as answer:
            body = await answer.json()
            found.append((answer.status, [error["pointer"] for error in body.get("errors", [])]))
    assert found == [
        (201, []), (201, []), (400, ["/payload/n"]), (400, ["/payload"]), (400, ["/payload"]), (400, ["/payload"]),
    ]  # fmt: skip
    async with client.post(path, json=create_body(payloadBase64="W10=", contentType="application/json")) as answer:
        assert (await answer.json())["errors"][0]["pointer"] == "/payloadBase64"
    async with client.post(path, json=create_body(payloadBase64="AAEC")) as answer:
        assert answer.status == 201


async def test_managed_timers_are_changed_where_they_are_declared(
    any_client: aiohttp.ClientSession, any_store: Store
) -> None:
    await created(any_client, id="a")
    declared = TimerChange(declared=(b"x", ManagedBy(uid="u", generation=1)))
    await any_store.update(GROUP, Target("a"), declared, managed=True)
    found = {}
    for method, path in (("PUT", "/a"), ("DELETE", "/a"), ("POST", "?ifExists=replace"), ("POST", "/a:run")):
        body = create_body(id="a", payload=1) if "?" in path else {}
        async with any_client.request(method, TIMERS + path, json=body) as answer:
            found[f"{method} {path}"] = (answer.status, (await answer.json()).get("code"))
    managed = (409, "TIMER_MANAGED")
    assert found == {
        "PUT /a": managed,
        "DELETE /a": managed,
        "POST ?ifExists=replace": managed,
        "POST /a:run": (200, None),
    }


async def test_ids_with_colons(client: aiohttp.ClientSession) -> None:
    for timer_id in ("a:run", "a:b:redrive", ":", "timers:batch"):
        await created(client, id=timer_id)
        async with client.get(f"{TIMERS}/{timer_id}") as answer:
            assert (await answer.json())["id"] == timer_id
        async with client.post(f"{TIMERS}/{timer_id}:run") as answer:
            assert (await answer.json())["id"] == timer_id
        async with client.delete(f"{TIMERS}/{timer_id}") as answer:
            assert answer.status == 204


async def test_the_trace_of_a_create_is_kept(client: aiohttp.ClientSession, store: Store) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    for timer_id, header, kept in (
        ("a", trace, trace),
        ("b", "nonsense", None),
        ("c", trace.replace("0af", "0AF"), None),
    ):
        async with client.post(TIMERS, json=create_body(id=timer_id), headers={"traceparent": header}):
            pass
        (row,) = await store.get(GROUP, [timer_id])
        assert isinstance(row, Timer)
        assert row.traceparent == kept
