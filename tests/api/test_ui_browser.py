"""The status page in a real browser: what it shows, that it refreshes, and that nothing in it is run."""

from collections.abc import AsyncIterator
from uuid import uuid4

import aiohttp
import pytest
from aiohttp import web

from durable_timer.models.ownership import Claim, Member, MemberReport
from durable_timer.stores.base import Store
from tests.api.support import Bridge
from tests.support.chromium import Tab, browsing, chromium
from tests.support.waiting import eventually

PROGRAM = chromium()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Chromium here (Debian: apt-get install chromium)")

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
async def tab() -> AsyncIterator[Tab]:
    async with browsing(str(PROGRAM)) as tab:
        yield tab


@pytest.fixture
async def behind_a_prefix(bridge: Bridge) -> AsyncIterator[str]:
    """The bridge behind a proxy that puts everything under `/timers`."""

    async def forward(request: web.Request) -> web.Response:
        path = request.raw_path.removeprefix("/timers")
        tag = request.headers.get("If-None-Match")
        headers = {} if tag is None else {"If-None-Match": tag}
        async with session.get(bridge.url + path, headers=headers) as answer:
            kept = {name: value for name, value in answer.headers.items() if name not in {"Content-Length", "Server"}}
            return web.Response(body=await answer.read(), status=answer.status, headers=kept)

    app = web.Application()
    app.router.add_get("/timers/{rest:.*}", forward)
    runner = web.AppRunner(app)
    async with aiohttp.ClientSession() as session:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/timers"
        await runner.cleanup()


async def join(store: Store, name: str, shards: set[int]) -> str:
    incarnation = uuid4().hex
    await store.join(Member(incarnation, name, "default", None, 0, False, False, MemberReport("1.2.3")))
    rows, _ = await store.shards("default")
    await store.claim([Claim(*row.key, row.epoch) for row in rows if row.shard in shards], incarnation)
    return incarnation


async def text(tab: Tab, selector: str) -> str:
    return str(await tab.evaluate(f"document.querySelector({selector!r})?.innerText ?? ''"))


async def shows(tab: Tab, selector: str, *words: str) -> None:
    async def shown() -> bool:
        found = await text(tab, selector)
        return all(word in found for word in words)

    await eventually(shown, 30.0)


async def test_groups_shards_and_executors_are_shown_and_refreshed(
    tab: Tab, store: Store, behind_a_prefix: str
) -> None:
    first = await join(store, "executor-0", {0, 1})
    await tab.go(f"{behind_a_prefix}/ui#group=demo")
    await shows(tab, "#groups", "demo", "file:demo", "2/4", "ShardsUnassigned")
    await shows(tab, "#members", "executor-0", "Active", "beating", "1.2.3")
    assert await tab.evaluate("document.querySelectorAll('#picked .map i').length") == 4
    assert await tab.evaluate("document.querySelectorAll('#picked .map i.nobody').length") == 2
    await join(store, "executor-1", {2, 3})
    await shows(tab, "#groups", "4/4", "active")
    await shows(tab, "#picked", "executor-1: 2", "ShardsAssigned: True")
    assert await tab.evaluate("document.querySelectorAll('#picked .map i.nobody').length") == 0
    await store.beat(first, 1, draining=True, report=None)
    await shows(tab, "#members", "Draining")
    assert tab.complaints == []


async def test_a_search_stands_in_the_address_and_keeps_the_focus(tab: Tab, bridge: Bridge) -> None:
    await tab.go(f"{bridge.url}/ui")
    await shows(tab, "#groups", "demo")
    await tab.evaluate("document.getElementById('search').focus()")
    await tab.call("Input.insertText", text="nothing such")
    await shows(tab, "#groups", "No group matches.")
    assert await tab.evaluate("location.hash") == "#search=nothing+such"
    assert await tab.evaluate("document.activeElement.id") == "search"


async def test_names_are_text_whatever_is_in_them(tab: Tab, store: Store, bridge: Bridge) -> None:
    await join(store, HOSTILE, {0, 1, 2, 3})
    await tab.go(f"{bridge.url}/ui#group=demo")
    await shows(tab, "#members", HOSTILE)
    await shows(tab, "#picked", HOSTILE)
    assert await tab.evaluate("document.images.length") == 0
    assert tab.complaints == []


async def test_what_somebody_injects_is_not_run(tab: Tab, bridge: Bridge) -> None:
    await tab.go(f"{bridge.url}/ui")
    await shows(tab, "#groups", "demo")
    add = "{const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s)}"
    with pytest.raises(RuntimeError, match="TrustedScript"):
        await tab.evaluate(add)
    assert await tab.evaluate("window.ran ?? 0") == 0


async def test_an_old_picture_is_said_to_be_old(tab: Tab, bridge: Bridge) -> None:
    await tab.go(f"{bridge.url}/ui")
    await shows(tab, "#groups", "demo")
    await tab.evaluate("window.fetch = () => Promise.reject(new Error('the network is away'))")
    await shows(tab, "#trouble", "What you see is old: the network is away")
    await shows(tab, "#groups", "demo")
