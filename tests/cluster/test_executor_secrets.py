"""An executor whose Secrets come from a real API server: missing, there, exchanged, without the API, and started anew."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from durable_timer.models.group import GroupRegistration, TimerGroupSpec
from durable_timer.models.results import IfExists
from durable_timer.models.timer import Header, NewTimer, SecretRef
from durable_timer.stores.options import StoreOptions
from durable_timer.stores.registry import open_store
from faults.proxy import Proxy
from tests.cluster.accounts import account, address
from tests.cluster.test_kube_secrets import GET_SECRETS, secret
from tests.programs.client import Client
from tests.support.kubectl import Kubectl
from tests.support.process import ServiceProcess
from tests.support.receiver import Arrival, Receiver
from tests.support.waiting import eventually

FIRST = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SECOND = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
SHARDS = 4


@dataclass
class Stage:
    """One database with a signed group, an unsigned one, and one program; the API server is behind a proxy."""

    kubectl: Kubectl
    namespace: str
    folder: Path
    config: Path
    proxy: Proxy
    receiver: Receiver

    @property
    def store(self) -> str:
        return f"sqlite:///{self.folder}/timers.sqlite"

    async def prepare(self) -> None:
        """Registers the groups as an operator does, and a timer of its own header, due in a while."""
        store = open_store(self.store, StoreOptions())
        try:
            await store.migrate()
            for name, callback in {
                "signed": {"signing": {"secretRefs": [{"name": "signing", "key": "key"}]}},
                "plain": {},
            }.items():
                spec = TimerGroupSpec.model_validate({"shards": SHARDS, "callback": callback})
                owner = f"default/{self.namespace}/{name}"
                await store.register_group(GroupRegistration(name, owner, SHARDS, "default", spec, 1))
            await store.create([await self._with_header(await store.now())], IfExists.FAIL)
        finally:
            await store.close()

    async def _with_header(self, now: Any) -> NewTimer:
        return NewTimer(
            group_id="plain",
            timer_id=f"k8s:{self.namespace}:own",
            shard=0,
            callback_url=f"{self.receiver.url}/own",
            fingerprint=b"own",
            execute_at=now + timedelta(seconds=1),
            headers=(Header("authorization", SecretRef("api", "token", self.namespace)),),
        )

    def program(self, name: str, kept: str) -> ServiceProcess:
        return ServiceProcess(
            "standalone",
            "--store",
            self.store,
            "--set",
            "engine.deny_private_targets=false",
            "--set",
            "kubernetes.secrets=true",
            "--set",
            f"kubernetes.secret_namespaces={self.namespace}",
            "--set",
            f"kubernetes.secret_cache_dir={self.folder / kept}",
            log=self.folder / f"{name}.log",
            environment={"KUBECONFIG": str(self.config)},
        )

    @contextlib.asynccontextmanager
    async def running(self, name: str, kept: str = "kept") -> AsyncIterator[ServiceProcess]:
        program = self.program(name, kept)
        await asyncio.to_thread(program.start)
        try:
            await asyncio.to_thread(program.wait_ready)
            yield program
        finally:
            await asyncio.to_thread(program.kill)

    async def fire(self, program: ServiceProcess, group: str, path: str) -> None:
        """Creates a timer that is due now."""
        url = f"{self.receiver.url}{path}"
        await asyncio.to_thread(lambda: Client(program.url).create(group, delay="0s", callbackUrl=url))

    async def arrival(self, path: str, within: float = 20.0) -> Arrival:
        return (await eventually(lambda: self.receiver.arrivals(path), within))[0]

    async def put(self, **secrets: dict[str, str]) -> None:
        objects = [secret(name, **values) for name, values in secrets.items()]
        await asyncio.to_thread(lambda: self.kubectl.apply(*objects, namespace=self.namespace))


@pytest.fixture
async def stage(kubectl: Kubectl, namespace: str, tmp_path: Path) -> AsyncIterator[Stage]:
    proxy = Proxy(*address(kubectl))
    port = await proxy.start()
    config = account(kubectl, namespace, tmp_path / "config", [GET_SECRETS], port=port)
    with Receiver() as receiver:
        made = Stage(kubectl, namespace, tmp_path, config, proxy, receiver)
        await made.prepare()
        yield made
    await proxy.stop()


def verified(arrival: Arrival, key: str) -> bool:
    try:
        Webhook(key).verify(arrival.body, dict(arrival.headers))
    except WebhookVerificationError:
        return False
    return True


async def test_a_signed_group_is_held_until_its_secret_is_there_and_goes_on_without_the_api(stage: Stage) -> None:
    async with stage.running("first") as program:
        await stage.fire(program, "signed", "/held")
        await stage.fire(program, "plain", "/plain")
        await stage.arrival("/plain")
        assert stage.receiver.arrivals("/held") == [], "not sent unsigned"
        assert stage.receiver.arrivals("/own") == []
        await stage.put(signing={"key": FIRST}, api={"token": "Bearer abc\n"})
        assert verified(await stage.arrival("/held"), FIRST)
        assert (await stage.arrival("/own")).headers["authorization"] == "Bearer abc"
        await stage.proxy.stop()
        await stage.fire(program, "signed", "/away")
        assert verified(await stage.arrival("/away"), FIRST)

        program.signal(signal.SIGKILL)
    async with stage.running("second") as program:
        await stage.fire(program, "signed", "/restarted")
        assert verified(await stage.arrival("/restarted"), FIRST), "from what was kept"
    async with stage.running("new pod", "another folder") as program:
        await stage.fire(program, "signed", "/new")
        await stage.fire(program, "plain", "/served")
        await stage.arrival("/served")
        assert stage.receiver.arrivals("/new") == []
        assert FIRST not in program.output
        assert "a Secret cannot be read" in program.output


async def test_a_program_that_hangs_on_the_api_at_its_start_serves_all_the_same(stage: Stage) -> None:
    await stage.put(signing={"key": FIRST}, api={"token": "Bearer abc"})
    stage.proxy.requests.shut()
    async with stage.running("hanging") as program:
        for number in range(3):
            await stage.fire(program, "plain", f"/plain-{number}")
            await stage.arrival(f"/plain-{number}", within=5.0)
        await stage.fire(program, "signed", "/held")
        assert stage.receiver.arrivals("/held") == []
        stage.proxy.requests.open()
        assert verified(await stage.arrival("/held", within=30.0), FIRST)


async def test_an_exchanged_secret_signs_when_a_minute_is_over(stage: Stage) -> None:
    await stage.put(signing={"key": FIRST}, api={"token": "Bearer abc"})
    async with stage.running("program") as program:
        await stage.fire(program, "signed", "/before")
        assert verified(await stage.arrival("/before"), FIRST)
        await stage.put(signing={"key": SECOND})
        number = 0

        async def signed_anew() -> bool:
            nonlocal number
            number += 1
            await stage.fire(program, "signed", f"/after-{number}")
            arrival = await stage.arrival(f"/after-{number}")
            assert verified(arrival, FIRST) or verified(arrival, SECOND)
            await asyncio.sleep(1)
            return verified(arrival, SECOND)

        await eventually(signed_anew, 90.0)
