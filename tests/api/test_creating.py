"""By which time a create is judged."""

import asyncio
from datetime import datetime, timedelta
from unittest import mock

import orjson
import pytest
from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import make_mocked_request

from durable_timer.clock import SystemClock
from durable_timer.metrics import Metrics
from durable_timer.models.instants import parse_instant
from durable_timer.stores.base import Store
from durable_timer_api.bodies import Bodies
from durable_timer_api.groups_cache import GroupsCache
from durable_timer_api.handlers.creating import Creating
from durable_timer_api.settings import BridgeSettings
from tests.api.support import GROUP, TIMERS, create_body

SCHEDULED = create_body(executeAt=None, schedule={"cron": "* * * * *"})


class Later(SystemClock):
    """The machine's clock, put forward."""

    by = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.by


@pytest.mark.parametrize("is_batch", [False, True])
async def test_a_create_is_judged_by_the_time_at_which_its_body_has_come(store: Store, *, is_batch: bool) -> None:
    clock, metrics, bodies = Later(), Metrics(), Bodies()
    groups = GroupsCache({"default": store}, BridgeSettings(), clock, metrics)
    await groups.start()
    content = StreamReader(mock.create_autospec(BaseProtocol, instance=True), 2**16)
    request = make_mocked_request("POST", TIMERS, match_info={"groupId": GROUP}, payload=content)
    creating = Creating(groups, bodies, metrics)
    try:
        answering = asyncio.create_task(creating.batch(request) if is_batch else creating.one(request))
        for _ in range(3):
            await asyncio.sleep(0)
        clock.by = timedelta(hours=1)
        begun = clock.now()
        content.feed_data(orjson.dumps({"timers": [SCHEDULED]} if is_batch else SCHEDULED))
        content.feed_eof()
        answer = orjson.loads(body_of(await answering))
    finally:
        await groups.close()
        bodies.close()
    timer = answer["results"][0]["timer"] if is_batch else answer
    assert parse_instant(timer["executeAt"]) > begun


def body_of(response: web.Response) -> bytes:
    assert isinstance(response.body, bytes)
    return response.body
