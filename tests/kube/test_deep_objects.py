"""What an API server takes as an object has to be read, however deep its payload: else one object hides all others."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from durable_timer.errors import KubeUnavailable
from durable_timer.kube.client import OURS, open_client
from durable_timer.models.resource import ResourceKind

ACCEPTED = 9_990
"""Levels that a payload may have: an API server reads 10,000 of a whole object."""


@pytest.fixture(autouse=True)
def recursion_limit() -> Iterator[None]:
    """That of a new process."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    yield
    sys.setrecursionlimit(before)


async def served(levels: int, folder: Path) -> tuple[web.AppRunner, Path]:
    """An API server whose one Timer has a payload of that depth, and a kubeconfig for it."""
    text = f'{{"items": [{{"kind": "Timer", "spec": {{"payload": {"[" * levels + "]" * levels}}}}}], "metadata": {{}}}}'

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=text, content_type="application/json")

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    config = {
        "clusters": [{"name": "c", "cluster": {"server": f"http://{host}:{port}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    file = folder / "kubeconfig"
    file.write_text(json.dumps(config))
    return runner, file


async def test_the_deepest_payload_that_is_accepted_is_read(tmp_path: Path) -> None:
    runner, kubeconfig = await served(ACCEPTED, tmp_path)
    try:
        async with open_client(kubeconfig) as client:
            [found] = await client.list(OURS[ResourceKind.TIMER], None)
            assert found["kind"] == "Timer"
            # kopf reads what it watches with the standard library, in the same process
            assert json.loads("[" * ACCEPTED + "]" * ACCEPTED)
    finally:
        await runner.cleanup()


async def test_what_is_deeper_than_an_api_server_takes_is_no_answer(tmp_path: Path) -> None:
    runner, kubeconfig = await served(40_000, tmp_path)
    try:
        async with open_client(kubeconfig) as client:
            with pytest.raises(KubeUnavailable):
                await client.list(OURS[ResourceKind.TIMER], None)
    finally:
        await runner.cleanup()
