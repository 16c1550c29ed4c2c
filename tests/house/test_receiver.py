"""The receiver that the tests of callbacks stand on."""

import time
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from tests.support.receiver import Receiver, Reply


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as client:
        yield client


async def test_it_records_what_arrived(receiver: Receiver, client: aiohttp.ClientSession) -> None:
    before = time.monotonic()
    async with client.put(f"{receiver.url}/a?b=c", data=b"\x00body", headers={"Webhook-Id": "1"}) as answer:
        assert answer.status == 200
    (arrival,) = receiver.arrivals()
    assert (arrival.method, arrival.path, arrival.query, arrival.body) == ("PUT", "/a", "b=c", b"\x00body")
    assert arrival.headers["webhook-id"] == "1"
    assert before <= arrival.monotonic <= time.monotonic()
    assert receiver.arrivals("/b") == []


async def test_replies_come_in_turn_and_the_last_one_stays(receiver: Receiver, client: aiohttp.ClientSession) -> None:
    receiver.reply("/a", Reply(status=503, headers={"Retry-After": "1"}), Reply(status=202, body=b"done"))
    answers = []
    for _ in range(3):
        async with client.post(f"{receiver.url}/a") as answer:
            answers.append((answer.status, answer.headers.get("Retry-After"), await answer.read()))
    assert answers == [(503, "1", b""), (202, None, b"done"), (202, None, b"done")]


async def test_a_dropped_connection_has_no_answer(receiver: Receiver, client: aiohttp.ClientSession) -> None:
    receiver.reply("/a", Reply(drop=True))
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await client.post(f"{receiver.url}/a")
    assert len(receiver.arrivals("/a")) >= 1


async def test_a_reply_on_its_way_does_not_hold_up_the_end(client: aiohttp.ClientSession) -> None:
    with Receiver() as receiver:
        receiver.reply("/a", Reply(delay=3600))
        with pytest.raises(TimeoutError):
            await client.post(f"{receiver.url}/a", timeout=aiohttp.ClientTimeout(total=0.1))
