"""Executors as pods start them: by environment, with the pod's name and uid, started again in the same pod."""

import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.programs.client import Client
from tests.support.postgres import EmbeddedPostgres
from tests.support.process import ServiceProcess
from tests.support.receiver import Receiver
from tests.support.waiting import eventually_blocking

pytestmark = pytest.mark.postgresql

GROUP = ("--groups", "examples/timergroup.yaml")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def pod(name: str, store: str) -> Mapping[str, str]:
    """As the chart's pods have it; deaths are not declared for silence within this test."""
    return {
        "DURABLE_TIMER_STORE": store,
        "DURABLE_TIMER_MEMBER_NAME": name,
        "DURABLE_TIMER_MEMBER_HOST": f"uid-of-{name}",
        "DURABLE_TIMER_ENGINE__DENY_PRIVATE_TARGETS": "false",
        "DURABLE_TIMER_ENGINE__DEAD_AFTER": "60s",
    }


def status(service: ServiceProcess, path: str) -> int:
    return Client(service.url).get(path).status


def test_a_process_that_starts_again_in_its_pod_takes_over_from_the_one_before_at_once(
    postgres_database: str, tmp_path: Path, receiver: Receiver
) -> None:
    executor = ServiceProcess("executor", log=tmp_path / "executor", environment=pod("a", postgres_database))
    bridge = ServiceProcess("bridge", *GROUP, "--store", postgres_database, log=tmp_path / "bridge")
    with bridge, executor:
        bridge.wait_ready()
        executor.wait_ready()
        client = Client(bridge.url)
        client.create("demo", delay="0s", callbackUrl=f"{receiver.url}/first")
        eventually_blocking(lambda: receiver.arrivals("/first"))
        executor.signal(signal.SIGKILL)
        executor.wait()
        executor.start()
        executor.wait_ready()
        client.create("demo", delay="0s", callbackUrl=f"{receiver.url}/again")
        eventually_blocking(lambda: receiver.arrivals("/again"), 15)
        assert "member=a" in executor.output.replace('"', "")


def test_an_executor_is_ready_while_its_beats_are_answered_and_lives_all_the_while(
    private_postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    environment = pod("a", private_postgres.url)
    with ServiceProcess("executor", log=tmp_path / "log", environment=environment) as executor:
        executor.wait_ready()
        private_postgres.kill()
        eventually_blocking(lambda: status(executor, "/readyz") == 503)
        assert status(executor, "/livez") == 200
        private_postgres.start()
        eventually_blocking(lambda: status(executor, "/readyz") == 200, 30)
        assert executor.stop() == 0
