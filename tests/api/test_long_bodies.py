"""Bodies that take long to read: nobody else waits for them, and no single value may be longer than an ordinary body."""

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any

import aiohttp
import pytest

from tests.api.support import HOOK, TIMERS

JSON = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
MIB = 1024 * 1024
STALL_MAX = 1.0
"""Seconds; far more than such a request takes of the event loop, and far less than its whole reading took on it."""

FIELDS = f'"callbackUrl":"{HOOK}","delay":"99h"'
DEEP = "[" * 70 + "%s" + "]" * 70


def filled(piece: str, size: int) -> str:
    return f"[{','.join([piece] * (size // (len(piece) + 1)))}]"


def members(count: int) -> str:
    return ",".join(f'"{number}":"0"' for number in range(count))


def timer(payload: str) -> str:
    return f'{{{FIELDS},"payload":{payload}}}'


@asynccontextmanager
async def longest_stall() -> AsyncIterator[list[float]]:
    """The longest time in which the event loop did not turn, as the one item of a list."""
    longest = [0.0]

    async def tick() -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.001)
            longest[0] = max(longest[0], time.monotonic() - began)

    ticking = asyncio.create_task(tick())
    try:
        yield longest
    finally:
        ticking.cancel()


async def post(client: aiohttp.ClientSession, path: str, body: str) -> tuple[int, dict[str, Any], float]:
    data = BytesIO(await asyncio.to_thread(gzip.compress, body.encode(), 9))
    async with longest_stall() as stall, client.post(f"{TIMERS}{path}", data=data, headers=JSON) as answer:
        text = await answer.read()
    return answer.status, json.loads(text), stall[0]


@pytest.mark.parametrize(
    "body",
    [
        timer(filled("[]", 14 * MIB)),
        timer(filled("1", 14 * MIB)),
        timer(DEEP % filled("1", 14 * MIB)),
        timer('"' + "x" * 14 * MIB + '"'),
        filled("[]", 14 * MIB),
        f"{{{FIELDS},{members(1_200_000)}}}",
    ],
    ids=["arrays", "integers", "deep", "text", "an array", "fields"],
)
async def test_an_item_that_is_far_too_long_is_refused_before_it_is_read(
    client: aiohttp.ClientSession, body: str
) -> None:
    status, answer, stall = await post(client, ":batch", f'{{"timers":[{body}]}}')
    assert (status, answer["code"]) == (400, "INVALID_INPUT")
    assert answer["errors"] == [{"pointer": "/timers/0", "detail": f"must have at most {2 * MIB} characters of JSON"}]
    assert stall < STALL_MAX


@pytest.mark.parametrize("body", [filled("[]", 14 * MIB), f'{{"x":{filled("[]", 14 * MIB)}}}'], ids=["array", "member"])
async def test_what_is_no_batch_is_refused_before_it_is_read(client: aiohttp.ClientSession, body: str) -> None:
    status, answer, stall = await post(client, ":batch", body)
    assert (status, answer["code"]) == (400, "INVALID_INPUT")
    assert stall < STALL_MAX


async def test_long_items_are_judged_one_by_one(client: aiohttp.ClientSession) -> None:
    """As long as each would be accepted as a body of its own."""
    payloads = [filled("[]", 2 * MIB - 1000), "[1]", filled("1", 90_000), filled("1.0", 2 * MIB - 1000)]
    status, answer, stall = await post(client, ":batch", f'{{"timers":[{",".join(map(timer, payloads))}]}}')
    assert status == 200
    assert [result["status"] for result in answer["results"]] == [400, 201, 201, 400]
    errors = [result["problem"]["errors"] for result in answer["results"] if result["status"] == 400]
    assert [wrong["pointer"] for (wrong,) in errors] == ["/timers/0/payload", "/timers/3/payload"]
    assert stall < STALL_MAX


@pytest.mark.parametrize(
    ("payload", "detail", "pointer"),
    [
        (filled("[]", MIB), "must have at most 102400 bytes in this group, has 1048576", "/payload"),
        (DEEP % filled("1", MIB), "must be nested at most 64 levels deep", "/payload"),
        (f"[{filled('1', MIB)},{2**64}]", "must be a number of at most 64 bits", "/payload/1"),
    ],
    ids=["arrays", "deep", "integer"],
)
async def test_a_long_body_of_one_timer(client: aiohttp.ClientSession, payload: str, detail: str, pointer: str) -> None:
    status, answer, stall = await post(client, "", timer(payload))
    assert (status, answer["errors"]) == (400, [{"pointer": pointer, "detail": detail}])
    assert stall < STALL_MAX


async def test_a_batch_of_too_many_items_is_given_up_at_the_first_too_many(client: aiohttp.ClientSession) -> None:
    status, answer, stall = await post(client, ":batch", f'{{"timers":{filled("{}", 14 * MIB)}}}')
    assert status == 400
    assert answer["errors"] == [{"pointer": "/timers", "detail": "must have 1 to 1000 items, has more"}]
    assert stall < STALL_MAX


MANY = members(100_000)


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("", f"{{{FIELDS},{MANY}}}", ""),
        ("", f'{{{FIELDS},"labels":{{{MANY}}}}}', "/labels"),
        ("", f'{{{FIELDS},"retryPolicy":{{{MANY}}}}}', "/retryPolicy"),
        (":cancel", f'{{"filter":{{"labels":{{{MANY}}}}}}}', "/filter/labels"),
        (":batch", f"{{{MANY}}}", "/0"),
    ],
)
async def test_no_answer_lists_a_hundred_thousand_errors(
    client: aiohttp.ClientSession, path: str, body: str, pointer: str
) -> None:
    status, answer, stall = await post(client, path, body)
    assert (status, answer["code"]) == (400, "INVALID_INPUT")
    assert answer["errors"][0]["pointer"] == pointer
    assert len(answer["errors"]) <= 101
    assert stall < STALL_MAX
