"""Secrets from a real API server, as an account that may `get` them and nothing else."""

import asyncio
import logging
import stat
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from durable_timer.clock import SystemClock
from durable_timer.kube.client import ApiKind, Body, KubeClient, open_client
from durable_timer.kube.secrets import AGAIN_AFTER, AT_ONCE, FRESH_FOR, KubeSecrets, open_secrets
from durable_timer.secrets import SIZE_MAX
from faults.proxy import Proxy
from tests.cluster.accounts import account
from tests.support.kubectl import Kubectl
from tests.support.waiting import eventually

GET_SECRETS = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}


class LaterClock(SystemClock):
    """A clock that can be put forward."""

    def __init__(self) -> None:
        super().__init__()
        self.later = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.later


@dataclass
class Counted:
    """How often a client asked, and how many of it at once."""

    asked: int = 0
    under_way: int = 0
    most: int = 0


class CountingClient(KubeClient):
    """A client that counts and can be held up."""

    def __init__(self, client: KubeClient) -> None:
        self._inner = client
        self.counted = Counted()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def get(self, kind: ApiKind, namespace: str, name: str, timeout: float = 10.0) -> Body | None:
        counted = self.counted
        counted.asked += 1
        counted.under_way += 1
        counted.most = max(counted.most, counted.under_way)
        try:
            await self.go_on.wait()
            return await self._inner.get(kind, namespace, name, timeout)
        finally:
            counted.under_way -= 1


def secret(name: str, **values: str | bytes) -> dict[str, Any]:
    raw = {key: value.encode() if isinstance(value, str) else value for key, value in values.items()}
    data = {key: b64encode(value).decode() for key, value in raw.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}


@dataclass
class World:
    """A namespace, an account in it, and Secrets as that reads them."""

    kubectl: Kubectl
    namespace: str
    config: Path
    clock: LaterClock

    def apply(self, *objects: dict[str, Any]) -> None:
        self.kubectl.apply(*objects, namespace=self.namespace)

    def delete(self, name: str) -> None:
        self.kubectl("delete", "secret", name, "-n", self.namespace)

    @asynccontextmanager
    async def secrets(self, folder: Path | None = None, config: Path | None = None) -> AsyncIterator[KubeSecrets]:
        async with (
            open_client(config or self.config) as client,
            open_secrets(client, self.clock, [self.namespace], folder) as opened,
        ):
            yield opened


@pytest.fixture
def world(kubectl: Kubectl, namespace: str, tmp_path: Path) -> World:
    return World(kubectl, namespace, account(kubectl, namespace, tmp_path / "config", [GET_SECRETS]), LaterClock())


async def test_a_value_is_the_secrets_without_one_line_end(world: World) -> None:
    world.apply(
        secret("signing", key="whsec_abc\n", other=b"\xff\x00", longest=b"x" * SIZE_MAX, longer=b"x" * (SIZE_MAX + 1))
    )
    async with world.secrets() as secrets:
        assert await secrets.read(world.namespace, "signing", "key") == b"whsec_abc"
        assert await secrets.read(world.namespace, "signing", "other") == b"\xff\x00"
        assert await secrets.read(world.namespace, "signing", "longest") is not None
        assert await secrets.read(world.namespace, "signing", "longer") is None
        assert await secrets.read(world.namespace, "signing", "absent") is None


@pytest.mark.parametrize("name", ["", "..", "../other", "a/b", "A", ".hidden", "a" * 254])
async def test_what_is_no_name_is_not_asked_for(world: World, name: str, tmp_path: Path) -> None:
    async with world.secrets(tmp_path / "kept") as secrets:
        assert await secrets.read(world.namespace, name, "key") is None
    assert not (tmp_path / "kept").exists()


async def test_one_that_is_missing_is_looked_for_again_after_seconds(world: World) -> None:
    async with world.secrets() as secrets:
        assert await secrets.read(world.namespace, "signing", "key") is None
        world.apply(secret("signing", key="1"))
        assert await secrets.read(world.namespace, "signing", "key") is None
        world.clock.later += AGAIN_AFTER
        assert await secrets.read(world.namespace, "signing", "key") == b"1"


async def test_a_changed_one_is_read_when_a_minute_is_over(world: World) -> None:
    world.apply(secret("signing", key="1"))
    async with world.secrets() as secrets:
        assert await secrets.read(world.namespace, "signing", "key") == b"1"
        world.apply(secret("signing", key="2"))
        world.clock.later += FRESH_FOR / 2
        assert await secrets.read(world.namespace, "signing", "key") == b"1"
        world.clock.later += FRESH_FOR / 2
        assert await secrets.read(world.namespace, "signing", "key") == b"2"


async def test_one_that_was_deleted_is_gone_in_the_folder_too(world: World, tmp_path: Path) -> None:
    world.apply(secret("signing", key="1"))
    async with world.secrets(tmp_path / "kept") as secrets:
        assert await secrets.read(world.namespace, "signing", "key") == b"1"
        file = tmp_path / "kept" / world.namespace / "signing"
        await eventually(file.exists)
        world.delete("signing")
        world.clock.later += FRESH_FOR
        assert await secrets.read(world.namespace, "signing", "key") is None
        await eventually(lambda: not file.exists())


async def test_all_who_name_a_secret_share_one_request(world: World, client: KubeClient) -> None:
    world.apply(secret("signing", one="1", two="2"))
    counting = CountingClient(client)
    async with open_secrets(counting, world.clock, [world.namespace], None) as secrets:
        keys = ["one", "two"] * 50
        values = await asyncio.gather(*(secrets.read(world.namespace, "signing", key) for key in keys))
        assert values == [b"1", b"2"] * 50
        assert counting.counted.asked == 1


async def test_few_requests_are_under_way_at_once(world: World, client: KubeClient) -> None:
    counting = CountingClient(client)
    counting.go_on.clear()
    async with open_secrets(counting, world.clock, [world.namespace], None) as secrets:
        reads = [asyncio.ensure_future(secrets.read(world.namespace, f"s-{number}", "key")) for number in range(30)]
        await eventually(lambda: counting.counted.under_way == AT_ONCE)
        counting.go_on.set()
        await asyncio.gather(*reads)
        await eventually(lambda: counting.counted.asked == 30)
        assert counting.counted.most == AT_ONCE


async def test_an_api_that_hangs_holds_readers_up_once_and_what_was_read_stays_good(
    world: World, client: KubeClient
) -> None:
    world.apply(secret("signing", key="1"))
    counting = CountingClient(client)
    async with open_secrets(counting, world.clock, [world.namespace], None) as secrets:
        assert await secrets.read(world.namespace, "signing", "key") == b"1"
        counting.go_on.clear()
        world.clock.later += FRESH_FOR
        assert await secrets.read(world.namespace, "signing", "key") == b"1"
        began = asyncio.get_running_loop().time()
        for _ in range(100):
            assert await secrets.read(world.namespace, "signing", "key") == b"1"
        assert asyncio.get_running_loop().time() - began < 5, "a hundred waits would be fifty seconds"
        assert counting.counted.asked == 2


async def test_without_the_api_what_was_read_stays_good_and_nothing_else_is(
    world: World, proxied: tuple[Proxy, Path]
) -> None:
    proxy, config = proxied
    world.apply(secret("signing", key="1"), secret("other", key="2"))
    async with world.secrets(config=config) as secrets:
        assert await secrets.read(world.namespace, "signing", "key") == b"1"
        await proxy.stop()
        for _ in range(5):
            world.clock.later += FRESH_FOR
            assert await secrets.read(world.namespace, "signing", "key") == b"1"
            assert await secrets.read(world.namespace, "other", "key") is None


async def test_the_next_process_has_what_was_kept(world: World, proxied: tuple[Proxy, Path], tmp_path: Path) -> None:
    proxy, config = proxied
    world.apply(secret("signing", key="1\n", other=b"\xff"))
    async with world.secrets(tmp_path / "kept", config) as secrets:
        assert await secrets.read(world.namespace, "signing", "key") == b"1"
        await eventually((tmp_path / "kept" / world.namespace / "signing").exists)
    await proxy.stop()
    async with world.secrets(tmp_path / "kept", config) as secrets:
        assert await secrets.read(world.namespace, "signing", "key") == b"1"
        assert await secrets.read(world.namespace, "signing", "other") == b"\xff"
    async with world.secrets(tmp_path / "another", config) as secrets:
        assert await secrets.read(world.namespace, "signing", "key") is None


async def test_what_is_kept_is_for_this_user_alone_and_leaves_no_parts(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "kept" / world.namespace
    world.apply(secret("signing", key="1"))
    async with world.secrets(tmp_path / "kept") as secrets:
        assert await secrets.read(world.namespace, "signing", "key") == b"1"
        world.apply(secret("signing", key="2"))
        world.clock.later += FRESH_FOR
        assert await secrets.read(world.namespace, "signing", "key") == b"2"
    assert [file.name for file in folder.iterdir()] == ["signing"]
    assert stat.S_IMODE((folder / "signing").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("text", ["", "no json", "[]", '{"key": "no base64!"}', '{"key": 1}', '{"key": null}'])
async def test_what_was_kept_and_cannot_be_read_is_none(world: World, tmp_path: Path, text: str) -> None:
    file = tmp_path / world.namespace / "signing"
    file.parent.mkdir()
    file.write_text(text)
    world.apply(secret("signing", key="1"))
    async with world.secrets(tmp_path) as secrets:
        assert await secrets.read(world.namespace, "signing", "key") == b"1"


async def test_a_folder_that_takes_nothing_is_no_error(world: World, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file")
    world.apply(secret("signing", key="1"))
    async with world.secrets(tmp_path / "kept") as secrets:
        with capture_logs() as lines:
            assert await secrets.read(world.namespace, "signing", "key") == b"1"
        assert "a Secret cannot be kept for the next process" in [line["event"] for line in lines]


async def test_other_namespaces_are_refused_and_that_is_said_once(world: World) -> None:
    async with world.secrets() as secrets:
        with capture_logs() as lines:
            for _ in range(3):
                assert await secrets.read("kube-system", "any", "key") is None
                assert await secrets.read(None, "any", "key") is None
    assert [line["namespace"] for line in lines] == ["kube-system", None]


async def test_what_is_forbidden_is_not_there_until_it_is_allowed(
    world: World, kubectl: Kubectl, tmp_path: Path
) -> None:
    world.apply(secret("signing", key="1"))
    nothing = account(kubectl, world.namespace, tmp_path / "nothing", [], name="nobody")
    async with world.secrets(config=nothing) as secrets:
        with capture_logs() as lines:
            assert await secrets.read(world.namespace, "signing", "key") is None
            world.clock.later += AGAIN_AFTER
            assert await secrets.read(world.namespace, "signing", "key") is None
            account(kubectl, world.namespace, tmp_path / "again", [GET_SECRETS], name="nobody")

            async def allowed() -> bool:
                world.clock.later += AGAIN_AFTER
                return await secrets.read(world.namespace, "signing", "key") == b"1"

            await eventually(allowed)
    assert [line["event"] for line in lines] == ["a Secret cannot be read", "a Secret can be read again"]
    assert 'cannot get resource "secrets"' in lines[0]["error"]


async def test_no_line_shows_a_value(
    world: World, proxied: tuple[Proxy, Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    proxy, config = proxied
    world.apply(secret("signing", key="swordfish"))
    with capture_logs() as lines:
        async with world.secrets(config=config) as secrets:
            assert await secrets.read(world.namespace, "signing", "key") == b"swordfish"
            await proxy.stop()
            world.clock.later += FRESH_FOR
            assert await secrets.read(world.namespace, "signing", "key") == b"swordfish"
    told = f"{lines}{caplog.text}"
    assert "signing" in told
    assert "swordfish" not in told
    assert b64encode(b"swordfish").decode() not in told
