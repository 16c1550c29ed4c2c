"""The HTTP client against a real receiver: what it must and must not do."""

import asyncio
import os
import resource
from collections.abc import AsyncIterator, Iterator

import pytest

from durable_timer.engine.delivery import CallbackRequest
from durable_timer.engine.egress import denied
from durable_timer.engine.http import PyreqwestDeliverer
from durable_timer.planning.answers import Answer, BodyEnd, NoAnswer, SendError
from tests.support.postgres import free_port
from tests.support.receiver import Receiver, Reply


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
async def deliverer() -> AsyncIterator[PyreqwestDeliverer]:
    made = PyreqwestDeliverer(deny_private=False, max_answer_bytes=1024, user_agent="durable-timer/test")
    yield made
    await made.close()


def post(url: str, timeout: float = 5.0, body: bytes = b"{}") -> CallbackRequest:
    return CallbackRequest("POST", url, [("content-type", "application/json"), ("x-a", "ü")], body, timeout)


async def test_an_answer_comes_back_whole(deliverer: PyreqwestDeliverer, receiver: Receiver) -> None:
    receiver.reply("/cb", Reply(status=503, body=b"busy", headers={"Retry-After": "7"}))
    answer = await deliverer.send(post(f"{receiver.url}/cb?q=1"))
    assert answer == Answer(503, b"busy", BodyEnd.WHOLE, "7")
    (arrival,) = receiver.arrivals()
    assert (arrival.method, arrival.query, arrival.body) == ("POST", "q=1", b"{}")
    assert arrival.headers["user-agent"] == "durable-timer/test"


async def test_redirects_are_not_followed(deliverer: PyreqwestDeliverer, receiver: Receiver) -> None:
    receiver.reply("/cb", Reply(status=302, headers={"Location": f"{receiver.url}/other"}))
    answer = await deliverer.send(post(f"{receiver.url}/cb"))
    assert isinstance(answer, Answer)
    assert answer.status == 302
    assert receiver.arrivals("/other") == []


async def test_a_proxy_of_the_environment_is_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    deliverer = PyreqwestDeliverer(deny_private=False, max_answer_bytes=1024, user_agent="t")
    answer = await deliverer.send(post(f"{receiver.url}/cb"))
    await deliverer.close()
    assert isinstance(answer, Answer)


async def test_an_over_long_answer_is_cut(deliverer: PyreqwestDeliverer, receiver: Receiver) -> None:
    receiver.reply("/cb", Reply(body=b"x" * 1_000_000))
    answer = await deliverer.send(post(f"{receiver.url}/cb"))
    assert answer == Answer(200, b"x" * 1024, BodyEnd.OVER_LONG)


@pytest.mark.parametrize(
    ("reply", "error"), [(Reply(delay=30), SendError.TIMEOUT), (Reply(drop=True), SendError.NO_CONNECTION)], ids=str
)
async def test_no_answer_says_why(
    deliverer: PyreqwestDeliverer, receiver: Receiver, reply: Reply, error: SendError
) -> None:
    receiver.reply("/cb", reply)
    answer = await deliverer.send(post(f"{receiver.url}/cb", timeout=1.0))
    assert isinstance(answer, NoAnswer)
    assert answer.error is error
    assert answer.detail


async def test_nobody_there(deliverer: PyreqwestDeliverer) -> None:
    answer = await deliverer.send(post(f"http://127.0.0.1:{free_port()}/cb"))
    assert isinstance(answer, NoAnswer)
    assert answer.error is SendError.NO_CONNECTION


async def test_what_cannot_be_expressed_is_final(deliverer: PyreqwestDeliverer, receiver: Receiver) -> None:
    request = CallbackRequest("POST", f"{receiver.url}/cb", [("x-a", "line\nbreak")], b"", 1.0)
    answer = await deliverer.send(request)
    assert isinstance(answer, NoAnswer)
    assert answer.error is SendError.INVALID_REQUEST
    assert receiver.arrivals() == []


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "169.254.169.254",
        "[::ffff:127.0.0.1]",
        "[::]",
        "0x",
        "127.0.0x1.",
        "0x7f000001.",
        "127.0.0.1.",
    ],
)
async def test_private_targets_are_refused_unsent(receiver: Receiver, host: str) -> None:
    deliverer = PyreqwestDeliverer(deny_private=True, max_answer_bytes=1024, user_agent="t")
    port = receiver.url.rsplit(":", 1)[1]
    answer = await deliverer.send(post(f"http://{host}:{port}/cb"))
    await deliverer.close()
    assert isinstance(answer, NoAnswer)
    assert answer.error is SendError.TARGET_DENIED
    assert receiver.arrivals() == []


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.0.0.1", False), ("192.168.1.1", False), ("8.8.8.8", False), ("2001:db8::1", False), ("127.8.9.1", True),
        ("169.254.0.1", True), ("fe80::1%eth0", True), ("::", True), ("224.0.0.1", True), ("fd00:ec2::254", True),
        ("64:ff9b::7f00:1", True), ("2002:7f00:1::", True), ("100.100.100.200", True),
    ],
)  # fmt: skip
def test_which_addresses_are_refused(address: str, expected: bool) -> None:
    assert denied(address) is expected


@pytest.mark.parametrize("status", [b"200 OK", b"503 Busy"])
async def test_a_retry_after_that_is_no_text_is_none(deliverer: PyreqwestDeliverer, status: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %b\r\nretry-after: \xff\xfe\r\ncontent-length: 0\r\n\r\n" % status)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert await deliverer.send(post(f"http://127.0.0.1:{port}/")) == Answer(int(status[:3]))


async def test_a_machine_without_descriptors_says_so(deliverer: PyreqwestDeliverer) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        answer = await deliverer.send(post(f"http://127.0.0.1:{port}/"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        server.close()
    assert isinstance(answer, NoAnswer)
    assert answer.error is SendError.NO_RESOURCES
