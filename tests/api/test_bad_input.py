"""Bad input, one row each: what is answered, and which value it points at."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from tests.api.support import GROUP, HOOK, TIMERS, create_body

CENTURY = timedelta(days=36_525)
DEEP = "[" * 65 + "]" * 65
NESTED = "[" * 64 + "]" * 64

JSON = {"Content-Type": "application/json"}


async def wrong_places(answer: aiohttp.ClientResponse) -> set[str]:
    assert answer.status == 400, await answer.text()
    assert answer.content_type == "application/problem+json"
    problem = await answer.json()
    assert problem["code"] == "INVALID_INPUT"
    assert problem["requestId"] == answer.headers["X-Request-Id"]
    assert all(error["detail"] for error in problem["errors"])
    return {error.get("pointer", error.get("parameter", error.get("header"))) for error in problem["errors"]}


WRONG_FIELDS: list[tuple[dict[str, Any], set[str]]] = [
    ({"id": ""}, {"/id"}),
    ({"id": "a" * 256}, {"/id"}),
    ({"id": "."}, {"/id"}),
    ({"id": ".."}, {"/id"}),
    ({"id": "a/b"}, {"/id"}),
    ({"id": "a\u0000b"}, {"/id"}),
    ({"id": "a\n"}, {"/id"}),
    ({"id": "ä"}, {"/id"}),
    ({"id": "k8s:a:b"}, {"/id"}),
    ({"id": 5}, {"/id"}),
    ({"groupId": "other"}, {"/groupId"}),
    ({"groupId": 1}, {"/groupId"}),
    ({"unknown": 1}, {"/unknown"}),
    ({"a/b~c": 1}, {"/a~1b~0c"}),
    ({"callback_url": HOOK}, {"/callback_url"}),
    ({"executeAt": "2030-01-01T00:00:00"}, {"/executeAt"}),
    ({"executeAt": "2030-01-01"}, {"/executeAt"}),
    ({"executeAt": "tomorrow"}, {"/executeAt"}),
    ({"executeAt": 1893456000}, {"/executeAt"}),
    ({"executeAt": "2030-02-30T00:00:00Z"}, {"/executeAt"}),
    ({"executeAt": "9999-12-31T23:59:59Z"}, {"/executeAt"}),
    ({"executeAt": "0001-01-01T00:00:00Z"}, {"/executeAt"}),
    ({"executeAt": "0001-01-01T00:00:00+01:00"}, {"/executeAt"}),
    ({"delay": "5s"}, {"/executeAt", "/delay"}),
    ({"executeAt": None, "delay": "5"}, {"/delay"}),
    ({"executeAt": None, "delay": "-5s"}, {"/delay"}),
    ({"executeAt": None, "delay": "99999h1ms"}, {"/delay"}),
    ({"executeAt": None, "delay": 5}, {"/delay"}),
    ({"executeAt": None}, {"/executeAt"}),
    ({"schedule": {"cron": "* * * * *"}}, {"/executeAt", "/schedule"}),
    ({"executeAt": None, "schedule": {"cron": "nonsense"}}, {"/schedule/cron"}),
    ({"executeAt": None, "schedule": {"cron": "* * * * * *"}}, {"/schedule/cron"}),
    ({"executeAt": None, "schedule": {"cron": "0 0 31 2 *"}}, {"/schedule/cron"}),
    ({"executeAt": None, "schedule": {"cron": "0 0 * * *" + " " * 128}}, {"/schedule/cron"}),
    ({"executeAt": None, "schedule": {}}, {"/schedule/cron"}),
    ({"executeAt": None, "schedule": []}, {"/schedule"}),
    ({"executeAt": None, "schedule": {"cron": "* * * * *", "timeZone": "Mars/Base"}}, {"/schedule/timeZone"}),
    ({"executeAt": None, "schedule": {"cron": "* * * * *", "missed": "Maybe"}}, {"/schedule/missed"}),
    ({"executeAt": None, "schedule": {"cron": "* * * * *", "startAt": "x"}}, {"/schedule/startAt"}),
    ({"executeAt": None, "schedule": {"cron": "* * * * *", "endAt": "2020-01-01T00:00:00Z"}}, {"/schedule"}),
    ({"executeAt": None, "schedule": {"cron": "* * * * *", "startAt": "2190-01-01T00:00:00Z"}}, {"/schedule"}),
    (
        {
            "executeAt": None,
            "schedule": {"cron": "* * * * *", "startAt": "2031-01-01T00:00:00Z", "endAt": "2030-01-01T00:00:00Z"},
        },
        {"/schedule/endAt"},
    ),
    ({"callbackUrl": None}, {"/callbackUrl"}),
    ({"callbackUrl": ""}, {"/callbackUrl"}),
    ({"callbackUrl": "ftp://host/x"}, {"/callbackUrl"}),
    ({"callbackUrl": "//host/x"}, {"/callbackUrl"}),
    ({"callbackUrl": "/x"}, {"/callbackUrl"}),
    ({"callbackUrl": "http:///x"}, {"/callbackUrl"}),
    ({"callbackUrl": "http://:80/x"}, {"/callbackUrl"}),
    ({"callbackUrl": "http://user:secret@host/"}, {"/callbackUrl"}),
    ({"callbackUrl": "http://user@host/"}, {"/callbackUrl"}),
    ({"callbackUrl": "http://host\\@other/"}, {"/callbackUrl"}),
    ({"callbackUrl": "http://host:0/"}, {"/callbackUrl"}),
    ({"callbackUrl": "http://host:65536/"}, {"/callbackUrl"}),
    ({"callbackUrl": "http://host:x/"}, {"/callbackUrl"}),
    ({"callbackUrl": "http://[::zz]/"}, {"/callbackUrl"}),
    ({"callbackUrl": "http://999.1.1.1/"}, {"/callbackUrl"}),
    ({"callbackUrl": "http://a..b/"}, {"/callbackUrl"}),
    ({"callbackUrl": "http://0x/"}, {"/callbackUrl"}),
    ({"callbackUrl": "http://127.0.0x1.:80/"}, {"/callbackUrl"}),
    ({"callbackUrl": "http://0X7f000001./"}, {"/callbackUrl"}),
    ({"callbackUrl": "http://a.0x1/"}, {"/callbackUrl"}),
    ({"callbackUrl": "http://a.1./"}, {"/callbackUrl"}),
    ({"callbackUrl": "http://xn--a/"}, {"/callbackUrl"}),
    ({"callbackUrl": "http://xn--abc-/"}, {"/callbackUrl"}),
    ({"callbackUrl": "http://" + "a" * 64 + "/"}, {"/callbackUrl"}),
    ({"callbackUrl": "http://host/a b"}, {"/callbackUrl"}),
    ({"callbackUrl": "http://host/\u0000"}, {"/callbackUrl"}),
    ({"callbackUrl": "http://host/" + "a" * 2037}, {"/callbackUrl"}),
    ({"callbackMethod": "TRACE"}, {"/callbackMethod"}),
    ({"callbackFormat": "Soap"}, {"/callbackFormat"}),
    ({"payload": 1, "payloadBase64": "AAEC"}, {"/payload", "/payloadBase64"}),
    ({"payload": "x" * (100 * 1024 - 1)}, {"/payload"}),
    ({"payload": 1, "contentType": "text/plain"}, {"/contentType"}),
    ({"payloadBase64": "A"}, {"/payloadBase64"}),
    ({"payloadBase64": "A_-="}, {"/payloadBase64"}),
    ({"payloadBase64": 5}, {"/payloadBase64"}),
    ({"payloadBase64": "AAEC", "contentType": "nonsense"}, {"/contentType"}),
    ({"payloadBase64": "AAEC", "contentType": "text/\u0000"}, {"/contentType"}),
    ({"payloadBase64": "AAEC", "contentType": "application/json"}, {"/payloadBase64"}),
    ({"contentType": "text/plain"}, {"/contentType"}),
    ({"headers": {"Host": "x"}}, {"/headers/Host"}),
    ({"headers": {"content-length": "x"}}, {"/headers/content-length"}),
    ({"headers": {"Content-Type": "x"}}, {"/headers/Content-Type"}),
    (
        {"headers": {"Connection": "x", "TE": "x", "Upgrade": "x"}},
        {"/headers/Connection", "/headers/TE", "/headers/Upgrade"},
    ),
    ({"headers": {"Webhook-Id": "x"}}, {"/headers/Webhook-Id"}),
    ({"headers": {"Durable-Timer-X": "x"}}, {"/headers/Durable-Timer-X"}),
    ({"headers": {"ce-id": "x"}}, {"/headers/ce-id"}),
    ({"headers": {"traceparent": "x"}}, {"/headers/traceparent"}),
    ({"headers": {"a b": "x"}}, {"/headers/a b"}),
    ({"headers": {"": "x"}}, {"/headers/"}),
    ({"headers": {"a" * 129: "x"}}, {"/headers/" + "a" * 129}),
    ({"headers": {"a": "x" * 4097}}, {"/headers/a"}),
    ({"headers": {"a": "x\r\nb: y"}}, {"/headers/a"}),
    ({"headers": {"a": "\u0000"}}, {"/headers/a"}),
    ({"headers": {"a": 1}}, {"/headers/a"}),
    ({"headers": {"a": "x", "A": "y"}}, {"/headers"}),
    ({"headers": {f"h{n}": "x" for n in range(33)}}, {"/headers"}),
    ({"headers": {f"h{n}": "x" * 4000 for n in range(3)}}, {"/headers"}),
    ({"headers": ["x"]}, {"/headers"}),
    ({"labels": {"-a": "x"}}, {"/labels/-a"}),
    ({"labels": {"a": "x y"}}, {"/labels/a"}),
    ({"labels": {"a": "x" * 64}}, {"/labels/a"}),
    ({"labels": {"a" * 64: "x"}}, {"/labels/" + "a" * 64}),
    ({"labels": {"a": "\u0000"}}, {"/labels/a"}),
    ({"labels": {"UPPER.example/a": "x"}}, {"/labels/UPPER.example~1a"}),
    ({"labels": {f"l{n}": "x" for n in range(17)}}, {"/labels"}),
    ({"retryPolicy": {"maxAttempts": 0}}, {"/retryPolicy/maxAttempts"}),
    ({"retryPolicy": {"maxAttempts": 1001}}, {"/retryPolicy/maxAttempts"}),
    ({"retryPolicy": {"maxAttempts": "5"}}, {"/retryPolicy/maxAttempts"}),
    ({"retryPolicy": {"maxAttempts": 1.5}}, {"/retryPolicy/maxAttempts"}),
    ({"retryPolicy": {"maxAttempts": True}}, {"/retryPolicy/maxAttempts"}),
    ({"retryPolicy": {"maxAttemptsDuration": "999ms"}}, {"/retryPolicy/maxAttemptsDuration"}),
    ({"retryPolicy": {"maxAttemptsDuration": "720h1ms"}}, {"/retryPolicy/maxAttemptsDuration"}),
    ({"retryPolicy": {"initialInterval": "99ms"}}, {"/retryPolicy/initialInterval"}),
    ({"retryPolicy": {"initialInterval": "1h1ms"}}, {"/retryPolicy/initialInterval"}),
    ({"retryPolicy": {"backoffMultiplier": 0.99}}, {"/retryPolicy/backoffMultiplier"}),
    ({"retryPolicy": {"backoffMultiplier": 10.1}}, {"/retryPolicy/backoffMultiplier"}),
    ({"retryPolicy": {"backoffMultiplier": "2.0"}}, {"/retryPolicy/backoffMultiplier"}),
    ({"retryPolicy": {"maxInterval": "24h1ms"}}, {"/retryPolicy/maxInterval"}),
    ({"retryPolicy": {"initialInterval": "2s", "maxInterval": "1s"}}, {"/retryPolicy/maxInterval"}),
    ({"retryPolicy": {"unknown": 1}}, {"/retryPolicy/unknown"}),
    ({"callbackTimeoutSeconds": 0}, {"/callbackTimeoutSeconds"}),
    ({"callbackTimeoutSeconds": 301}, {"/callbackTimeoutSeconds"}),
    ({"callbackTimeoutSeconds": "10s"}, {"/callbackTimeoutSeconds"}),
    ({"startingDeadline": "999ms"}, {"/startingDeadline"}),
    ({"startingDeadline": "8760h1ms"}, {"/startingDeadline"}),
    ({"suspend": "true"}, {"/suspend"}),
    ({"suspend": 1}, {"/suspend"}),
    ({"state": "pending"}, {"/state"}),
    (
        {
            "id": "a b",
            "callbackUrl": "x",
            "retryPolicy": {"maxAttempts": 0},
            "delay": "x",
            "payload": 1,
            "payloadBase64": "A",
        },
        {"/id", "/callbackUrl", "/retryPolicy/maxAttempts", "/executeAt", "/delay", "/payload", "/payloadBase64"},
    ),
]


@pytest.mark.parametrize(("fields", "places"), WRONG_FIELDS)
async def test_wrong_fields_of_a_create(
    client: aiohttp.ClientSession, fields: dict[str, Any], places: set[str]
) -> None:
    async with client.post(TIMERS, json=create_body(**fields)) as answer:
        assert await wrong_places(answer) == places


@pytest.mark.parametrize(("fields", "places"), WRONG_FIELDS)
async def test_the_same_fields_are_wrong_in_a_batch_beside_one_that_is_right(
    client: aiohttp.ClientSession, fields: dict[str, Any], places: set[str]
) -> None:
    items = [create_body(id="right"), create_body(**fields)]
    async with client.post(f"{TIMERS}:batch", json={"timers": items}) as answer:
        assert answer.status == 200, await answer.text()
        right, wrong = (await answer.json())["results"]
    assert right["status"] == 201
    assert wrong["status"] == 400
    assert {error["pointer"] for error in wrong["problem"]["errors"]} == {f"/timers/1{place}" for place in places}


EDGES: list[dict[str, Any]] = [
    {"id": "a" * 255},
    {"id": "-._~:@"},
    {"id": "K8S:x"},
    {"groupId": GROUP},
    {"groupId": None, "id": None, "labels": {}, "headers": {}, "retryPolicy": {}},
    {"executeAt": "1969-07-20T20:17:40Z"},
    {"executeAt": "0001-01-01T00:00:00.000001Z"},
    {"executeAt": (datetime.now(UTC) + CENTURY - timedelta(hours=1)).isoformat()},
    {"executeAt": None, "delay": "0s"},
    {"executeAt": None, "delay": "99999h"},
    {"executeAt": None, "schedule": {"cron": "* * * * *", "timeZone": "Europe/Berlin", "missed": "Skip"}},
    {
        "executeAt": None,
        "schedule": {"cron": "0 0 * * *", "startAt": "0001-01-01T00:00:00Z", "endAt": "9999-12-31T23:59:59.999999Z"},
    },
    {"callbackUrl": "http://host/" + "a" * 2036},
    {"callbackUrl": "HTTPS://[2001:db8::1]:65535/a?b#c"},
    {"callbackUrl": "http://xn--bcher-kva.example./"},
    {"callbackUrl": "http://" + "a" * 63 + ".0xa.b0/"},
    {"callbackUrl": "http://my_service.ns.svc.cluster.local:1"},
    {"payload": None},
    {"payload": {"a": "\u0000", "b": 2**64 - 1, "c": -(2**63), "d": 1e308}},
    {"payload": "x" * (100 * 1024 - 2)},
    {"payload": 1, "contentType": "application/vnd.acme+json; charset=utf-8"},
    {"payloadBase64": ""},
    {"payloadBase64": "AAEC", "contentType": "text/plain; charset=utf-8"},
    {"payloadBase64": "eyJhIjogMX0=", "contentType": "application/json"},
    {"headers": {"a" * 128: "x" * 4096, "Authorization": "Bearer x\ty", "Empty": ""}},
    {"headers": {f"h{n}": "x" for n in range(32)}},
    {"labels": {"app.example/" + "a" * 63: "x" * 63, "b": ""}},
    {"labels": {f"l{n}": "x" for n in range(16)}},
    {"retryPolicy": {"maxAttempts": 1, "maxAttemptsDuration": "1s", "initialInterval": "100ms"}},
    {
        "retryPolicy": {
            "maxAttempts": 1000,
            "maxAttemptsDuration": "720h",
            "initialInterval": "1h",
            "maxInterval": "24h",
        }
    },
    {"retryPolicy": {"backoffMultiplier": 1}},
    {"retryPolicy": {"backoffMultiplier": 10.0, "initialInterval": "1s", "maxInterval": "1s"}},
    {"retryPolicy": {"maxAttempts": 5.0}},
    {"callbackTimeoutSeconds": 1},
    {"callbackTimeoutSeconds": 300},
    {"startingDeadline": "1s"},
    {"startingDeadline": "8760h"},
    {"suspend": True},
]


async def test_what_is_just_within_the_rules(any_client: aiohttp.ClientSession) -> None:
    for fields in EDGES:
        body = {"executeAt": "2030-01-01T00:00:00Z", "callbackUrl": HOOK, **fields}
        async with any_client.post(TIMERS, json=body) as answer:
            assert answer.status == 201, await answer.text()
            timer = await answer.json()
        async with any_client.get(answer.headers["Location"]) as answer:
            assert await answer.json() == timer


BAD_JSON: list[tuple[bytes, str]] = [
    (b"", "unexpected the end"),
    (b"{", "unexpected the end"),
    (b'{"id"}', "unexpected '}'"),
    (b'{"id": "a",}', "unexpected '}'"),
    (b"{'id': 1}", "unexpected"),
    (b'{"id": 1} x', "something follows its end"),
    (b'{"payload": NaN}', "NaN is not JSON"),
    (b'{"payload": [Infinity]}', "Infinity is not JSON"),
    (b'{"payload": 1e999}', "too large"),
    (b'{"payload": 01}', "unexpected '1'"),
    (b'{"payload": "\x01"}', "control character"),
    (b'{"payload": "\xff"}', "not UTF-8 at byte 13"),
    (b'{"payload": "\\ud800"}', "surrogate"),
    (b'{"payload": "\\x"}', "escape"),
    (b'{"id": "a", "id": "b"}', "'id' stands twice"),
    (b'{"payload": {"a": 1, "b": {"c": 1, "c": 2}}}', "'c' stands twice"),
    (b'\xef\xbb\xbf{"id": "a"}', "unexpected"),
    (b'{"payload": ' + b"[" * 100_000, "nested deeper"),
    (b'{"payload": ' + b"1" * 5000 + b"}", "too long"),
]


@pytest.mark.parametrize(("body", "detail"), BAD_JSON, ids=range(len(BAD_JSON)))
@pytest.mark.parametrize("path", ["", ":batch", ":cancel"])
async def test_what_is_not_json(client: aiohttp.ClientSession, path: str, body: bytes, detail: str) -> None:
    async with client.post(TIMERS + path, data=body, headers=JSON) as answer:
        problem = await answer.json()
    assert answer.status == 400
    assert problem["code"] == "INVALID_JSON"
    assert detail in problem["detail"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (f'{{"payload": {DEEP}}}', "/payload"),
        ('{"payload": {"a": [1, 18446744073709551616]}}', "/payload/a/1"),
        ('{"payload": -9223372036854775809}', "/payload"),
        ("[]", ""),
        ("5", ""),
    ],
)
async def test_json_beyond_a_limit_is_pointed_at(client: aiohttp.ClientSession, text: str, place: str) -> None:
    async with client.post(TIMERS, data=text, headers=JSON) as answer:
        assert await wrong_places(answer) == {place}


async def test_json_as_deep_as_allowed(client: aiohttp.ClientSession) -> None:
    text = json.dumps(create_body())[:-1] + f', "payload": {NESTED}}}'
    async with client.post(TIMERS, data=text, headers=JSON) as answer:
        assert answer.status == 201, await answer.text()


@pytest.mark.parametrize(
    ("body", "places"),
    [
        ({}, {"/timers"}),
        ({"timers": []}, {"/timers"}),
        ({"timers": {}}, {"/timers"}),
        ({"timers": [{}] * 1001}, {"/timers"}),
        ({"timers": [{}], "x": 1}, {"/x"}),
    ],
)
async def test_wrong_batches(client: aiohttp.ClientSession, body: dict[str, Any], places: set[str]) -> None:
    async with client.post(f"{TIMERS}:batch", json=body) as answer:
        assert await wrong_places(answer) == places


async def test_an_item_that_is_no_object_is_wrong_by_itself(client: aiohttp.ClientSession) -> None:
    async with client.post(f"{TIMERS}:batch", json={"timers": [5, create_body()]}) as answer:
        first, second = (await answer.json())["results"]
    assert [first["status"], second["status"]] == [400, 201]
    assert first["problem"]["errors"] == [{"pointer": "/timers/0", "detail": "must be an object"}]


@pytest.mark.parametrize("verb", [":cancel", ":redrive"])
@pytest.mark.parametrize(
    ("body", "places"),
    [
        ({}, {""}),
        ({"ids": None}, {""}),
        ({"ids": ["a"], "filter": {}}, {""}),
        ({"ids": ["a"], "pageToken": "x"}, {"/pageToken"}),
        ({"ids": []}, {"/ids"}),
        ({"ids": ["a"] * 1001}, {"/ids"}),
        ({"ids": ["a b", 5]}, {"/ids/0", "/ids/1"}),
        ({"ids": "a"}, {"/ids"}),
        ({"filter": {"unknown": 1}}, {"/filter/unknown"}),
        ({"filter": {"idPrefix": "a b"}}, {"/filter/idPrefix"}),
        ({"filter": {"labels": {"a": "x y"}}}, {"/filter/labels/a"}),
        ({"filter": []}, {"/filter"}),
        ({"ids": ["a"], "x": 1}, {"/x"}),
    ],
)
async def test_wrong_selections(
    client: aiohttp.ClientSession, verb: str, body: dict[str, Any], places: set[str]
) -> None:
    async with client.post(TIMERS + verb, json=body) as answer:
        assert await wrong_places(answer) == places


@pytest.mark.parametrize(
    ("where", "places"),
    [
        ({"state": ["done"]}, {"/filter/state/0"}),
        ({"state": "pending"}, {"/filter/state"}),
        ({"dueFrom": "x"}, {"/filter/dueFrom"}),
        ({"state": ["failed"], "dueBefore": "2030-01-01T00:00:00Z"}, {"/filter/dueBefore"}),
    ],
)
async def test_wrong_filters_of_a_cancel(
    client: aiohttp.ClientSession, where: dict[str, Any], places: set[str]
) -> None:
    async with client.post(f"{TIMERS}:cancel", json={"filter": where}) as answer:
        assert await wrong_places(answer) == places


@pytest.mark.parametrize(
    ("query", "places"),
    [
        ("unknown=1", {"unknown"}),
        ("pagesize=1", {"pagesize"}),
        ("pageSize=0", {"pageSize"}),
        ("pageSize=1001", {"pageSize"}),
        ("pageSize=x", {"pageSize"}),
        ("pageSize=%D9%A1", {"pageSize"}),
        ("pageSize=1&pageSize=2", {"pageSize"}),
        ("view=all", {"view"}),
        ("state=done&state=pending", {"state"}),
        ("dueFrom=2030-01-01T00:00:00", {"dueFrom"}),
        ("dueFrom=x&dueBefore=y&idPrefix=%20&label=a", {"dueFrom", "dueBefore", "idPrefix", "label"}),
        ("state=failed&dueFrom=2030-01-01T00:00:00Z", {"dueFrom"}),
        ("label=a%20b=c", {"label"}),
        ("idPrefix=a%00", {"idPrefix"}),
    ],
)
async def test_wrong_parameters_of_a_list(client: aiohttp.ClientSession, query: str, places: set[str]) -> None:
    async with client.get(f"{TIMERS}?{query}") as answer:
        assert await wrong_places(answer) == places


@pytest.mark.parametrize(
    ("method", "path", "places"),
    [
        ("POST", "?ifExists=maybe", {"ifExists"}),
        ("POST", "?x=1", {"x"}),
        ("POST", ":batch?x=1", {"x"}),
        ("POST", ":redrive?whenRunning=stop", {"whenRunning"}),
        ("DELETE", "/a?whenRunning=now", {"whenRunning"}),
        ("GET", "/a?view=full", {"view"}),
        ("PUT", "/a?ifExists=keep", {"ifExists"}),
        ("POST", "/a:run?x=1", {"x"}),
        ("GET", "/a%20b", {"timerId"}),
        ("GET", "/a%00", {"timerId"}),
        ("POST", "/" + "a" * 256 + ":run", {"timerId"}),
    ],
)
async def test_wrong_parameters(client: aiohttp.ClientSession, method: str, path: str, places: set[str]) -> None:
    body = create_body() if method in {"POST", "PUT"} else None
    async with client.request(method, TIMERS + path, json=body) as answer:
        assert await wrong_places(answer) == places


@pytest.mark.parametrize("token", ["x", "", "e30", "WyJ4IixudWxsLCJhIixudWxsXQ", "ä", "x" * 2000])
@pytest.mark.parametrize("path", [TIMERS, "/api/v1/groups"])
async def test_wrong_page_tokens(client: aiohttp.ClientSession, path: str, token: str) -> None:
    async with client.get(path, params={"pageToken": token}) as answer:
        assert answer.status == 400
        assert (await answer.json())["code"] == "INVALID_PAGE_TOKEN"


@pytest.mark.parametrize(
    ("fields", "places"),
    [
        ({"id": "other"}, {"/id"}),
        ({"groupId": "other"}, {"/groupId"}),
        ({"executeAt": None}, {"/executeAt"}),
        ({"callbackUrl": None}, {"/callbackUrl"}),
        ({"delay": "1s", "executeAt": "2030-01-01T00:00:00Z"}, {"/delay", "/executeAt"}),
        ({"delay": "1s", "schedule": {"cron": "* * * * *"}}, {"/delay", "/schedule"}),
        ({"executeAt": "9999-01-01T00:00:00Z"}, {"/executeAt"}),
        ({"contentType": "text/plain"}, {"/contentType"}),
        ({"uid": 1, "retryPolicy": {"maxAttempts": 0}}, {"/uid", "/retryPolicy/maxAttempts"}),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_wrong_fields_of_a_change(
    client: aiohttp.ClientSession, method: str, fields: dict[str, Any], places: set[str]
) -> None:
    await client.post(TIMERS, json=create_body(id="a", payload=1))
    async with client.request(method, f"{TIMERS}/a", json=fields) as answer:
        assert await wrong_places(answer) == places


@pytest.mark.parametrize("tag", ["", "5", "a b", '"a", "b"', '"'])
async def test_what_is_no_entity_tag(client: aiohttp.ClientSession, tag: str) -> None:
    async with client.delete(f"{TIMERS}/a", headers={"If-Match": tag}) as answer:
        assert await wrong_places(answer) == {"If-Match"}


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/groups/nowhere/timers",
        "/api/v1/groups/nowhere/timers/a",
        "/api/v1/groups/nowhere",
        "/api/v1/groups/UPPER/timers",
    ],
)
async def test_unknown_groups(client: aiohttp.ClientSession, path: str) -> None:
    async with client.get(path) as answer:
        assert answer.status == 404
        assert (await answer.json())["code"] == "GROUP_NOT_FOUND"


@pytest.mark.parametrize(
    ("method", "path", "code", "status"),
    [
        ("GET", "/", "NOT_FOUND", 404),
        ("GET", "/api/v1/group", "NOT_FOUND", 404),
        ("GET", f"{TIMERS}/a", "TIMER_NOT_FOUND", 404),
        ("PUT", f"{TIMERS}/a", "TIMER_NOT_FOUND", 404),
        ("DELETE", f"{TIMERS}/a", "TIMER_NOT_FOUND", 404),
        ("POST", f"{TIMERS}/a:run", "TIMER_NOT_FOUND", 404),
        ("POST", f"{TIMERS}/a:redrive", "TIMER_NOT_FOUND", 404),
        ("POST", f"{TIMERS}/a", "METHOD_NOT_ALLOWED", 405),
        ("PUT", TIMERS, "METHOD_NOT_ALLOWED", 405),
        ("DELETE", "/livez", "METHOD_NOT_ALLOWED", 405),
    ],
)
async def test_what_is_not_there(client: aiohttp.ClientSession, method: str, path: str, code: str, status: int) -> None:
    async with client.request(method, path, json={}) as answer:
        problem = await answer.json()
    assert (answer.status, problem["code"]) == (status, code)
    assert problem["status"] == status
    assert ("Allow" in answer.headers) == (status == 405)
