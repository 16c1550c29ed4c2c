"""What a bridge takes on at once is bounded: the bytes of bodies together, and connections."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from io import BytesIO

import aiohttp
import pytest

from durable_timer.models import limits
from durable_timer_api import room
from durable_timer_api.problems import Problem
from durable_timer_api.room import Room
from tests.api.support import TIMERS, Bridge, create_body
from tests.support.waiting import eventually

MIB = 1024 * 1024
BATCH = f"{TIMERS}:batch"
JSON = {"Content-Type": "application/json"}


async def started(*waiting: asyncio.Task[None]) -> None:
    for _ in range(3):
        await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)


async def test_room_is_given_in_order() -> None:
    space = Room(10)
    await space.enter(6)
    large, small = asyncio.create_task(space.enter(8)), asyncio.create_task(space.enter(2))
    await started(large, small)
    space.leave(6)
    await asyncio.gather(large, small)
    last = asyncio.create_task(space.enter(1))
    await started(last)
    space.leave(2)
    await last


async def test_one_that_gives_up_waiting_lets_others_pass() -> None:
    space = Room(10)
    await space.enter(6)
    large, small = asyncio.create_task(space.enter(8)), asyncio.create_task(space.enter(4))
    await started(large, small)
    large.cancel()
    await small
    space.leave(10)
    await space.enter(10)


async def test_room_given_to_one_that_gives_up_at_that_moment_is_not_lost() -> None:
    space = Room(10)
    await space.enter(10)
    waiting = asyncio.create_task(space.enter(10))
    await started(waiting)
    space.leave(10)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await space.enter(10)


async def test_one_that_gives_up_just_before_room_is_given_back_is_merely_gone() -> None:
    space = Room(10)
    await space.enter(10)
    waiting = asyncio.create_task(space.enter(10))
    await started(waiting)
    waiting.cancel()
    space.leave(10)
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await space.enter(10)


async def test_who_waits_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_PATIENCE", 0.01)
    space = Room(10)
    await space.enter(10)
    with pytest.raises(Problem) as refused:
        await space.enter(1)
    assert refused.value.code == "NOT_READY"
    assert refused.value.all_headers["Retry-After"] == "1"
    space.leave(10)
    await space.enter(10)


async def endless(size: int, go_on: asyncio.Event) -> AsyncIterator[bytes]:
    yield b" " * size
    await go_on.wait()
    yield b"{}"


@pytest.mark.parametrize("says_its_length", [True, False])
async def test_bodies_beyond_the_room_wait_and_are_refused(
    client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, *, says_its_length: bool
) -> None:
    """The room is full of bodies that have begun; small ones pass."""
    monkeypatch.setattr(room, "_PATIENCE", 0.1)
    go_on = asyncio.Event()
    size = MIB
    count = limits.BODIES_MAX_BYTES // (size + 2 if says_its_length else limits.BATCH_BODY_MAX_BYTES)
    headers = {**JSON, "Content-Length": str(size + 2)} if says_its_length else JSON

    async def send() -> int:
        async with client.post(BATCH, data=endless(size, go_on), headers=headers) as answer:
            return answer.status

    holding = [asyncio.create_task(send()) for _ in range(count)]
    large = json.dumps({"timers": [create_body(payload="x" * 90_000) for _ in range(20)]}).encode()

    async def refused() -> bool:
        async with client.post(BATCH, data=BytesIO(large), headers=JSON) as answer:
            assert answer.status in (200, 503), await answer.text()
            assert answer.status == 200 or answer.headers["Retry-After"] == "1"
            return answer.status == 503

    await eventually(refused)
    async with client.post(TIMERS, json=create_body()) as answer:
        assert answer.status == 201
    go_on.set()
    assert set(await asyncio.gather(*holding)) == {400}
    async with client.post(BATCH, data=BytesIO(large), headers=JSON) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("path", "encoding", "size"),
    [
        (TIMERS, "gzip", limits.BODY_MAX_BYTES),
        (f"{TIMERS}:cancel", "gzip", limits.BODY_MAX_BYTES),
        (BATCH, "gzip", limits.BATCH_BODY_MAX_BYTES),
        (BATCH, "identity", 70_000),
        (f"{TIMERS}:nothing", "gzip", None),
        (TIMERS.replace("demo", "none"), "gzip", None),
    ],
)
async def test_a_body_takes_the_room_that_it_can_need(
    client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, path: str, encoding: str, size: int | None
) -> None:
    """What its operation takes at most, and nothing where it is not read."""
    taken = []
    enter = Room.enter

    async def noted(self: Room, size: int) -> None:
        taken.append(size)
        await enter(self, size)

    monkeypatch.setattr(Room, "enter", noted)
    headers = {**JSON, "Content-Encoding": encoding}
    async with client.post(path, data=BytesIO(b" " * 70_000), headers=headers) as answer:
        assert answer.status == (400 if size else 404)
    assert taken == ([] if size is None else [size])


async def test_what_a_gzip_of_no_stated_length_may_unpack_to_takes_room(
    client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its first byte, and where it has come as a whole before it is looked at."""
    monkeypatch.setattr(room, "_PATIENCE", 0.1)
    go_on = asyncio.Event()
    zipped = gzip.compress(b" " * MIB + b"{}")

    async def body() -> AsyncIterator[bytes]:
        yield zipped[:1]
        await go_on.wait()
        yield zipped[1:]

    async def send() -> int:
        async with client.post(BATCH, data=body(), headers={**JSON, "Content-Encoding": "gzip"}) as answer:
            return answer.status

    holding = [asyncio.create_task(send()) for _ in range(limits.BODIES_MAX_BYTES // limits.BATCH_BODY_MAX_BYTES)]

    async def refused() -> bool:
        return await whole_gzip_at_once(client, zipped) == 503

    await eventually(refused)
    go_on.set()
    assert set(await asyncio.gather(*holding)) == {400}
    assert await whole_gzip_at_once(client, zipped) == 400


async def whole_gzip_at_once(client: aiohttp.ClientSession, zipped: bytes) -> int:
    """The status of the answer to head and body in one piece."""
    assert client._base_url is not None
    reader, writer = await asyncio.open_connection(client._base_url.host, client._base_url.port)
    try:
        writer.write(
            b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (BATCH.encode(), len(zipped), zipped)
        )
        async with asyncio.timeout(10):
            return int((await reader.readline()).split()[1])
    finally:
        writer.close()
        await writer.wait_closed()


async def started_post(client: aiohttp.ClientSession, headers: dict[str, str]) -> None:
    async with client.post(BATCH, data=endless(1, asyncio.Event()), headers=headers):
        pytest.fail("its body never ends")


async def test_who_leaves_within_a_body_gives_its_room_back(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_PATIENCE", 0.1)
    size = limits.BATCH_BODY_MAX_BYTES
    large = json.dumps({"timers": [create_body(payload="x" * 90_000) for _ in range(20)]}).encode()

    async with aiohttp.ClientSession(bridge.url) as client:

        async def status() -> int:
            async with client.post(BATCH, data=BytesIO(large), headers=JSON) as answer:
                return answer.status

        async def answered(expected: int) -> bool:
            return await status() == expected

        async with aiohttp.ClientSession(bridge.url) as leaving:
            headers = {**JSON, "Content-Length": str(size)}
            sends = [
                asyncio.create_task(started_post(leaving, headers)) for _ in range(limits.BODIES_MAX_BYTES // size)
            ]
            await eventually(lambda: answered(503))
            for send in sends:
                send.cancel()
            await asyncio.gather(*sends, return_exceptions=True)
        await eventually(lambda: answered(200))


async def test_connections_beyond_the_most_are_answered_503_and_closed(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CONNECTIONS_MAX", 2)

    async def one_more(stack: AsyncExitStack) -> aiohttp.ClientSession:
        session = await stack.enter_async_context(aiohttp.ClientSession(bridge.url))
        async with session.get("/livez") as answer:
            assert answer.status == 200
        return session

    async with AsyncExitStack() as stack:
        for _ in range(2):
            await one_more(stack)
        async with aiohttp.ClientSession(bridge.url) as third:
            async with third.post(TIMERS, json=create_body()) as answer:
                assert (answer.status, (await answer.json())["code"]) == (503, "NOT_READY")
                assert answer.headers["Retry-After"] == "1"
                assert answer.headers["Connection"] == "close"
            async with third.get("/livez") as answer:
                assert answer.status == 200

    async def served() -> bool:
        async with aiohttp.ClientSession(bridge.url) as fourth, fourth.post(TIMERS, json=create_body()) as answer:
            return answer.status == 201

    await eventually(served)
