"""Work of many rows goes one at a time, with rests; what is small does not wait for it."""

import asyncio
from contextlib import suppress
from datetime import timedelta

import aiohttp
import pytest

from durable_timer.metrics import Metrics
from durable_timer.models.group import GroupRegistration, TimerGroupSpec
from durable_timer.models.page import Page, Position, TimerFilter
from durable_timer.stores.memory import MemoryStore
from durable_timer_api.app import build_app, serve
from durable_timer_api.problems import Problem
from durable_timer_api.settings import BridgeSettings
from durable_timer_api.turns import FEW, Turns
from tests.support.waiting import eventually

MANY = FEW + 1
PATIENCE = 60.0


async def test_work_of_a_few_rows_waits_for_no_turn() -> None:
    turns = Turns(PATIENCE)
    async with turns.turn(MANY), turns.turn(FEW), turns.turn(FEW):
        pass


async def test_work_of_many_rows_has_its_turn_alone_and_in_order() -> None:
    turns, seen, release = Turns(PATIENCE), list[str](), asyncio.Event()

    async def work(name: str) -> None:
        async with turns.turn(MANY):
            seen.append(f"{name} begins")
            await release.wait()
            seen.append(f"{name} ends")

    async with asyncio.TaskGroup() as group:
        for name in ("a", "b", "c"):
            group.create_task(work(name))
        await eventually(lambda: bool(seen))
        await asyncio.sleep(0)
        assert seen == ["a begins"]
        release.set()
    assert seen == [f"{name} {what}" for name in ("a", "b", "c") for what in ("begins", "ends")]


async def test_after_a_turn_nobody_has_one_for_as_long_as_it_took() -> None:
    turns, loop = Turns(PATIENCE), asyncio.get_running_loop()
    async with turns.turn(MANY):
        begun = loop.time()
        await asyncio.sleep(0.03)
        ended = loop.time()
    async with turns.turn(MANY):
        assert loop.time() - ended >= (ended - begun) * 0.9


async def test_a_turn_that_fails_or_is_given_up_is_followed_by_the_next() -> None:
    turns = Turns(PATIENCE)
    with pytest.raises(ValueError, match="no"):
        async with turns.turn(MANY):
            raise ValueError("no")
    held, waiting = turns.turn(MANY), asyncio.Event()

    async def given_up() -> None:
        waiting.set()
        async with turns.turn(MANY):
            pytest.fail("it was cancelled while it waited")

    async with held:
        task = asyncio.create_task(given_up())
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with turns.turn(MANY):
        pass


async def test_who_waits_too_long_is_refused_and_the_turn_goes_to_another() -> None:
    turns = Turns(0.01)
    async with turns.turn(MANY):
        with pytest.raises(Problem) as refused:
            async with turns.turn(MANY):
                pytest.fail("another has it")
    assert (refused.value.code, refused.value.all_headers["Retry-After"]) == ("NOT_READY", "1")

    async def has_one() -> bool:
        with suppress(Problem):
            async with turns.turn(MANY):
                return True
        return False

    await eventually(has_one)


class Hanging(MemoryStore):
    """Answers no list while it hangs."""

    def __init__(self) -> None:
        super().__init__()
        self.goes_on = asyncio.Event()
        self.lists = 0

    async def list(
        self, group_id: str, where: TimerFilter, *, limit: int, after: Position | None, payloads: bool
    ) -> Page:
        self.lists += 1
        await self.goes_on.wait()
        return await super().list(group_id, where, limit=limit, after=after, payloads=payloads)


async def test_a_store_that_hangs_holds_up_nobody_at_another_and_says_before_the_time_limit_what_it_did_not_do() -> (
    None
):
    hanging, other = Hanging(), MemoryStore()
    for group_id, store in (("hanging", hanging), ("other", other)):
        await store.migrate()
        spec = TimerGroupSpec(shards=4)
        await store.register_group(GroupRegistration(group_id, f"file:{group_id}", 4, "default", spec, 1))
    settings = BridgeSettings(request_timeout=timedelta(seconds=2))
    app = build_app({"hanging": hanging, "other": other}, Metrics(), settings)

    async def listed(client: aiohttp.ClientSession, group_id: str) -> tuple[int, str | None]:
        async with client.get(f"/api/v1/groups/{group_id}/timers?pageSize=500") as answer:
            return answer.status, (await answer.json()).get("code")

    async with (
        serve(app, "127.0.0.1", 0, settings) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
        asyncio.TaskGroup() as group,
    ):
        first = group.create_task(listed(client, "hanging"))
        await eventually(lambda: hanging.lists == 1)
        second = group.create_task(listed(client, "hanging"))
        assert await listed(client, "other") == (200, None)
        assert not first.done()
        assert await second == (503, "NOT_READY")
        assert await first == (504, "TIMEOUT")
        hanging.goes_on.set()
