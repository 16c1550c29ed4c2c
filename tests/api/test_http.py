"""What holds for every request: limits, encodings, ids, time, faults of the store, probes."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta

import aiohttp
import pytest
from aiohttp import web

from durable_timer.errors import StoreFull, StoreUnavailable
from durable_timer.models.group import GroupRegistration, TimerGroupSpec
from durable_timer.stores.base import Store
from durable_timer.stores.memory import MemoryStore
from durable_timer_api.app import serve
from durable_timer_api.settings import BridgeSettings
from tests.api.support import GROUP, TIMERS, Bridge, create_body, running_bridge
from tests.support.waiting import eventually

JSON = {"Content-Type": "application/json"}
MIB = 2**20


class Weather:
    """What befalls the store's calls, by the method's name."""

    def __init__(self) -> None:
        self.errors: dict[str, Exception] = {}
        self.hanging: set[str] = set()
        self._over = asyncio.Event()

    async def before(self, name: str) -> None:
        if name in self.hanging:
            await self._over.wait()
        if name in self.errors:
            raise self.errors[name]

    async def after(self, name: str) -> None:
        pass

    def clear(self) -> None:
        """Lets go what hangs."""
        self.hanging.clear()
        self._over.set()


@pytest.fixture
def weather() -> Weather:
    return Weather()


@pytest.fixture
async def store(weather: Weather) -> AsyncIterator[Store]:
    memory = MemoryStore(hooks=weather)
    await memory.register_group(GroupRegistration(GROUP, "file:demo", 4, "default", TimerGroupSpec(shards=4), 1))
    yield memory
    await memory.close()


@pytest.fixture
async def hasty(store: Store) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a bridge whose limits of time are short."""
    settings = BridgeSettings(
        request_timeout=timedelta(milliseconds=500),
        groups_interval=timedelta(milliseconds=20),
        groups_stale_after=timedelta(seconds=1),
    )
    async with running_bridge(store, settings) as running, aiohttp.ClientSession(running.url) as session:
        yield session


async def problem(answer: aiohttp.ClientResponse) -> tuple[int, str]:
    assert answer.content_type == "application/problem+json"
    body = await answer.json()
    assert body["status"] == answer.status
    assert body["requestId"] == answer.headers["X-Request-Id"]
    return answer.status, body["code"]


async def exchanged(client: aiohttp.ClientSession, raw: bytes) -> bytes:
    """What comes back for these bytes: head and body of one answer."""
    assert client._base_url is not None
    reader, writer = await asyncio.open_connection(client._base_url.host, client._base_url.port)
    try:
        writer.write(raw)
        async with asyncio.timeout(5):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.splitlines() if line.lower().startswith(b"content-length:"))
            return head + await reader.readexactly(int(length.partition(b":")[2]))
    finally:
        writer.close()
        await writer.wait_closed()


async def pieces(size: int) -> AsyncIterator[bytes]:
    for _ in range(0, size, 65536):
        yield b" " * 65536


@pytest.mark.parametrize(
    ("path", "limit"), [("", 2 * MIB), (":batch", 16 * MIB), (":cancel", 2 * MIB), ("/a", 2 * MIB)]
)
async def test_a_body_over_its_limit(client: aiohttp.ClientSession, path: str, limit: int) -> None:
    method = "PUT" if path == "/a" else "POST"
    zipped = gzip.compress(b" " * (limit + 1))
    for data, headers in ((pieces(limit + 65536), JSON), (zipped, JSON | {"Content-Encoding": "gzip"})):
        async with client.request(method, TIMERS + path, data=data, headers=headers) as answer:
            assert await problem(answer) == (413, "BODY_TOO_LARGE")


async def test_a_body_that_says_it_is_over_the_limit_is_not_read(client: aiohttp.ClientSession) -> None:
    head = f"POST {TIMERS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {2 * MIB + 1}"
    assert (await exchanged(client, f"{head}\r\n\r\n".encode())).startswith(b"HTTP/1.1 413 ")


async def test_a_body_just_within_its_limit(client: aiohttp.ClientSession) -> None:
    body = json.dumps(create_body()).encode()
    for data in (body + b" " * (MIB - len(body)), gzip.compress(body + b" " * (2 * MIB - len(body)))):
        headers = JSON | ({"Content-Encoding": "gzip"} if data[:1] != b"{" else {})
        async with client.post(TIMERS, data=data, headers=headers) as answer:
            assert answer.status == 201, await answer.text()


@pytest.mark.parametrize("body", [b"nonsense", b"", gzip.compress(b"{}")[:-4], gzip.compress(b"{}") + b"x"])
async def test_broken_gzip(client: aiohttp.ClientSession, body: bytes) -> None:
    async with client.post(TIMERS, data=body, headers=JSON | {"Content-Encoding": "gzip"}) as answer:
        assert await problem(answer) == (400, "INVALID_JSON")


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/merge-patch+json"},
        {"Content-Type": "application/json", "Content-Encoding": "br"},
        {"Content-Type": "application/json", "Content-Encoding": "deflate"},
    ],
)
async def test_what_is_not_json_by_its_headers(client: aiohttp.ClientSession, headers: dict[str, str]) -> None:
    for method, path in (("POST", ""), ("POST", ":batch"), ("PATCH", "/a"), ("POST", ":cancel")):
        async with client.request(method, TIMERS + path, data=b"{}", headers=headers) as answer:
            assert await problem(answer) == (415, "UNSUPPORTED_MEDIA_TYPE")


async def test_json_under_a_charset_or_no_content_type(client: aiohttp.ClientSession) -> None:
    body = json.dumps(create_body()).encode()
    for content_type in ("application/json; charset=utf-8", "Application/JSON", ""):
        skip = [] if content_type else ["Content-Type"]
        headers = {"Content-Type": content_type} if content_type else {}
        async with client.post(TIMERS, data=body, headers=headers, skip_auto_headers=skip) as answer:
            assert answer.status == 201, await answer.text()


async def test_request_ids(client: aiohttp.ClientSession) -> None:
    async with client.get("/livez", headers={"X-Request-Id": "my.request_1-A"}) as answer:
        assert answer.headers["X-Request-Id"] == "my.request_1-A"
    made = set()
    for given in (None, "", "a b", "x" * 129, "ä"):
        headers = {} if given is None else {"X-Request-Id": given}
        async with client.get("/nowhere", headers=headers) as answer:
            assert await problem(answer) == (404, "NOT_FOUND")
            made.add(answer.headers["X-Request-Id"])
    assert len(made) == 5


async def test_a_store_that_does_not_answer(hasty: aiohttp.ClientSession, weather: Weather) -> None:
    for name, method, path in (
        ("create", "POST", ""),
        ("get", "GET", "/a"),
        ("list", "GET", ""),
        ("delete", "DELETE", "/a"),
    ):
        weather.hanging = {name}
        async with hasty.request(method, TIMERS + path, json=create_body() if name == "create" else None) as answer:
            assert await problem(answer) == (504, "TIMEOUT")
    weather.clear()
    async with hasty.post(TIMERS, json=create_body(id="b")) as answer:
        assert answer.status == 201


async def test_a_client_that_does_not_send_its_body(hasty: aiohttp.ClientSession) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(5)

    async with asyncio.timeout(4), hasty.post(TIMERS, data=slowly(), headers=JSON) as answer:
        assert await problem(answer) == (504, "TIMEOUT")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (StoreUnavailable("gone"), 503, "STORE_UNAVAILABLE"),
        (StoreFull("disk d7"), 503, "STORE_FULL"),
    ],
)
async def test_faults_of_the_store(
    client: aiohttp.ClientSession, weather: Weather, error: Exception, status: int, code: str
) -> None:
    for name in ("create", "get", "list", "update", "delete", "run", "redrive"):
        weather.errors[name] = error
    for method, path in (
        ("POST", ""), ("POST", ":batch"), ("POST", ":cancel"), ("POST", ":redrive"), ("GET", ""), ("GET", "/a"),
        ("PUT", "/a"), ("DELETE", "/a"), ("POST", "/a:run"), ("POST", "/a:redrive"),
    ):  # fmt: skip
        body: object = create_body() if path == "" else {"timers": [create_body()]} if path == ":batch" else {}
        body = {"ids": ["a"]} if path in {":cancel", ":redrive"} else body
        async with client.request(method, TIMERS + path, json=body if method != "GET" else None) as answer:
            assert await problem(answer) == (status, code), (method, path)
            assert answer.headers["Retry-After"] == "1"
            assert str(error) not in await answer.text()


async def test_a_bug_is_answered_without_its_details(client: aiohttp.ClientSession, weather: Weather) -> None:
    weather.errors["get"] = RuntimeError("a secret")
    async with client.get(f"{TIMERS}/a") as answer:
        assert await problem(answer) == (500, "INTERNAL")
        assert "secret" not in await answer.text()


async def test_creates_that_share_a_failed_insert_are_all_answered(
    client: aiohttp.ClientSession, weather: Weather
) -> None:
    weather.hanging = {"create"}
    asked = [asyncio.create_task(client.post(TIMERS, json=create_body(id=f"t{number}"))) for number in range(20)]
    weather.errors["create"] = StoreUnavailable("gone")
    weather.clear()
    for answer in await asyncio.gather(*asked):
        async with answer:
            assert await problem(answer) == (503, "STORE_UNAVAILABLE")


async def test_without_a_read_of_groups_nothing_is_served(hasty: aiohttp.ClientSession, weather: Weather) -> None:
    async def status() -> int:
        async with hasty.get(TIMERS) as answer:
            if answer.status != 200:
                assert await problem(answer) == (503, "NOT_READY")
                assert answer.headers["Retry-After"] == "1"
            return answer.status

    async def ready() -> int:
        async with hasty.get("/readyz") as answer:
            return answer.status

    assert (await status(), await ready()) == (200, 200)
    weather.errors["groups"] = StoreUnavailable("gone")

    async def refused() -> bool:
        return (await status(), await ready()) == (503, 503)

    await eventually(refused)
    async with hasty.get("/api/v1/groups/unknown") as answer:
        assert await problem(answer) == (503, "STORE_UNAVAILABLE")
    async with hasty.get("/livez") as answer:
        assert answer.status == 200
    weather.errors.clear()

    async def served() -> bool:
        return (await status(), await ready()) == (200, 200)

    await eventually(served)


async def test_a_group_is_served_as_soon_as_it_is_registered(client: aiohttp.ClientSession, store: Store) -> None:
    async with client.get("/api/v1/groups/new/timers") as answer:
        assert await problem(answer) == (404, "GROUP_NOT_FOUND")
    await store.register_group(GroupRegistration("new", "file:new", 4, "default", TimerGroupSpec(shards=4), 1))
    async with client.post("/api/v1/groups/new/timers", json=create_body()) as answer:
        assert answer.status == 201


async def test_probes_say_which_check_fails(store: Store, weather: Weather) -> None:
    async def failing() -> str | None:
        return "no beat was answered lately"

    async with (
        running_bridge(store, readiness={"executor": failing}) as running,
        aiohttp.ClientSession(running.url) as session,
    ):
        weather.errors["ping"] = StoreUnavailable("connection refused")
        async with session.get("/readyz") as answer:
            assert answer.status == 503
            assert await answer.json() == {
                "status": "failing",
                "checks": {
                    "store:default": "connection refused",
                    "executor": "no beat was answered lately",
                },
            }
        for path in ("/livez", "/healthz"):
            async with session.get(path) as answer:
                assert (answer.status, (await answer.json())["status"]) == (200, "ok")


async def test_a_bridge_starts_while_its_store_is_away(store: Store, weather: Weather) -> None:
    weather.errors["groups"] = StoreUnavailable("gone")
    settings = BridgeSettings(groups_interval=timedelta(milliseconds=20))
    async with running_bridge(store, settings) as running, aiohttp.ClientSession(running.url) as session:
        async with session.get(TIMERS) as answer:
            assert await problem(answer) == (503, "STORE_UNAVAILABLE")
        weather.errors.clear()

        async def served() -> bool:
            async with session.get(TIMERS) as answer:
                return answer.status == 200

        await eventually(served)


async def test_metrics_count_requests_and_creates(client: aiohttp.ClientSession) -> None:
    for body in (create_body(id="a"), create_body(id="a"), {}):
        async with client.post(TIMERS, json=body):
            pass
    async with client.get("/metrics") as answer:
        text = await answer.text()
    assert answer.content_type == "text/plain"
    assert 'durable_timer_timers_created_total{group="demo"} 1.0' in text
    for status in (201, 200, 400):
        assert f'durable_timer_http_requests_total{{operation="createTimer",status="{status}"}} 1.0' in text


async def test_a_head_request_is_answered_like_its_get(client: aiohttp.ClientSession) -> None:
    async with client.post(TIMERS, json=create_body(id="a")):
        pass
    async with client.get(f"{TIMERS}/a") as get, client.head(f"{TIMERS}/a") as head:
        assert (head.status, head.headers["ETag"]) == (200, get.headers["ETag"])
        assert await head.read() == b""


async def test_the_contract_is_served_as_text_and_as_a_page(client: aiohttp.ClientSession) -> None:
    async with client.get("/api.yaml") as answer:
        assert (await answer.text()).startswith("openapi: 3.0.3\n")
    async with client.get("/docs") as answer:
        page = await answer.text()
    assert answer.content_type == "text/html"
    for word in ("createTimer", "redriveTimers", "TIMER_EXECUTING", "backoffMultiplier", "If-Match"):
        assert word in page
    assert "src=" not in page
    assert "@import" not in page


@pytest.mark.parametrize(
    "raw",
    [
        f"GET {TIMERS}?pageToken={'x' * 9000} HTTP/1.1\r\nHost: x\r\n\r\n",
        f"GET {TIMERS} HTTP/1.1\r\nHost: x\r\nX-Long: {'x' * 9000}\r\n\r\n",
        f"GET {TIMERS} HTTP/1.1\r\nHost: x\r\nX-Null: \0\r\n\r\n",
        f"POST {TIMERS} HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        "\x16\x03\x01\0 nonsense\r\n\r\n",
    ],
    ids=["long line", "long header", "null", "length", "not HTTP"],
)
async def test_what_is_not_well_formed_http(client: aiohttp.ClientSession, raw: str) -> None:
    answer = await exchanged(client, raw.encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert b"Content-Type: application/problem+json" in head
    assert json.loads(body)["code"] == "MALFORMED_REQUEST"
    assert json.loads(body)["requestId"].encode() in head


async def test_a_body_that_breaks_off(client: aiohttp.ClientSession) -> None:
    head = f"POST {TIMERS} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await exchanged(client, f"{head}5\r\n{{}}zzz\r\nnonsense\r\n".encode())
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))


async def test_a_client_that_goes_away_within_its_body_is_no_fault_of_the_service(
    bridge: Bridge, client: aiohttp.ClientSession
) -> None:
    assert client._base_url is not None
    _, writer = await asyncio.open_connection(client._base_url.host, client._base_url.port)
    writer.write(f'POST {TIMERS} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{{"a"'.encode())
    await writer.drain()
    writer.close()
    await writer.wait_closed()

    def counted() -> bytes:
        lines = bridge.metrics.render().splitlines()
        return b" ".join(line for line in lines if b"createTimer" in line and b"status=" in line)

    found = await eventually(counted)
    assert b'status="400"' in found
    assert b'status="5' not in found


async def test_a_head_that_does_not_come_to_its_end_ends_the_connection(store: Store) -> None:
    settings = BridgeSettings(request_timeout=timedelta(seconds=1), keep_alive=timedelta(seconds=300))
    async with running_bridge(store, settings) as bridge, aiohttp.ClientSession(bridge.url) as client:
        port = int(bridge.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        whole = f"GET {TIMERS} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        for rest in (whole, whole[20:]):
            writer.write(rest if rest is whole else whole[:20])
            await writer.drain()
            if rest is not whole:
                async with client.get("/livez"):
                    writer.write(rest)
            async with asyncio.timeout(5):
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200")
                length = next(line for line in head.splitlines() if line.lower().startswith(b"content-length:"))
                await reader.readexactly(int(length.partition(b":")[2]))
        writer.write(whole[:20])
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("expected", ["100-continue", "foo"])
async def test_an_expectation_that_is_not_known_is_none(client: aiohttp.ClientSession, expected: str) -> None:
    raw = f"GET {TIMERS} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: {expected}\r\n\r\n"
    assert client._base_url is not None
    reader, writer = await asyncio.open_connection(client._base_url.host, client._base_url.port)
    writer.write(raw.encode())
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200" if expected != "foo" else b"HTTP/1.1 200")
    assert b"X-Request-Id" in answer


async def test_a_plain_application_is_served_as_well() -> None:
    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/", hello)
    async with (
        serve(app, "127.0.0.1", 0, BridgeSettings()) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        for path, status in (("/", 200), ("/x", 404)):
            async with client.get(path) as answer:
                assert answer.status == status


async def test_a_bridge_that_stops_asks_its_clients_to_leave_before_it_cuts_idle_connections(store: Store) -> None:
    """Else a client sends into a connection that is being closed, and cannot know whether its request was carried out."""
    stack = AsyncExitStack()
    running = await stack.enter_async_context(running_bridge(store))
    reader, writer = await asyncio.open_connection("127.0.0.1", int(running.url.rpartition(":")[2]))
    ask = b"GET /livez HTTP/1.1\r\nhost: bridge\r\n\r\n"
    writer.write(ask)
    assert b"connection: close" not in (await reader.readuntil(b"\r\n\r\n")).lower()
    stopping = asyncio.create_task(stack.aclose())
    await asyncio.sleep(0)
    writer.write(ask)
    answered = (await reader.read()).lower()
    assert b"200 ok" in answered
    assert b"connection: close" in answered
    writer.close()
    await stopping
