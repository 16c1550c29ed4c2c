"""Bridges and executors as separate processes on one PostgreSQL, several of each."""

import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.programs.client import Client
from tests.programs.cluster import cluster
from tests.support.postgres import EmbeddedPostgres
from tests.support.process import PROGRAM, ServiceProcess
from tests.support.receiver import Receiver, Reply
from tests.support.waiting import eventually_blocking

pytestmark = pytest.mark.postgresql


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def command(*arguments: str) -> str:
    result = subprocess.run([str(PROGRAM), *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result
    return result.stdout


def _waits(process: ServiceProcess) -> bool:
    return "waiting for the store" in process.output


def test_executors_share_the_shards_and_hand_over_when_one_stops(
    postgres_database: str, tmp_path: Path, receiver: Receiver
) -> None:
    with cluster(postgres_database, tmp_path) as processes:
        processes.wait_shared()
        receiver.reply("/slow", Reply(delay=1.5))
        ids = [
            Client(bridge.url).create("demo", delay="0s", callbackUrl=receiver.url + "/slow")["id"]
            for bridge in processes.bridges * 10
        ]
        eventually_blocking(lambda: len(receiver.arrivals("/slow")) == len(ids))
        leaving, staying = processes.executors
        assert leaving.stop() == 0
        eventually_blocking(lambda: processes.owned(staying) == 16, 10)
        client = Client(processes.bridges[0].url)
        client.create("demo", id="after", delay="0s", callbackUrl=receiver.url + "/after")
        eventually_blocking(lambda: receiver.arrivals("/after"))
        eventually_blocking(lambda: all(client.timer("demo", one)["state"] == "completed" for one in ids))
        assert len(receiver.arrivals("/slow")) == len(ids)
        assert not any("Traceback" in one.output for one in (*processes.bridges, *processes.executors))


def test_the_command_line_registers_lists_hands_over_and_empties_groups_of_a_running_service(
    postgres_database: str, tmp_path: Path, receiver: Receiver
) -> None:
    """Standalone on PostgreSQL, which finds its group in the store."""
    store = ("--store", postgres_database)
    assert "demo: registered, 16 shards" in command("groups", "apply", "examples/timergroup.yaml", *store)
    arguments = (*store, "--set", "engine.deny_private_targets=false")
    with ServiceProcess("standalone", *arguments, log=tmp_path / "log") as service:
        service.wait_ready()
        client = Client(service.url)
        client.create("demo", id="t", delay="0s", callbackUrl=receiver.url)
        client.create("demo", id="far", delay="9999h", callbackUrl=receiver.url)
        eventually_blocking(receiver.arrivals)
        eventually_blocking(lambda: client.timer("demo", "t")["state"] == "completed")
        heading, row = command("groups", "list", *store).splitlines()
        assert heading.split()[:3] == ["GROUP", "STATE", "SHARDS"]
        assert row.split() == ["demo", "active", "16", "default", "1", "0", "1", "0", "file:demo"]
        assert "belongs to file:other" in command("groups", "transfer", "demo", "--to", "file:other", *store)

        said = command("groups", "purge", "demo", "--yes", *store, "--set", "http.request_timeout=1s")
        assert said == "demo: purged, 2 timers deleted\n"
        answer = client.request("POST", "/api/v1/groups/demo/timers", {"delay": "1s", "callbackUrl": "http://a/"})
        assert (answer.status, answer.body["code"]) == (409, "GROUP_DELETED")
        assert command("groups", "list", *store).splitlines()[1].split()[1] == "deleted"


def test_programs_that_start_before_their_database_wait_for_it(
    private_postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    private_postgres.kill()
    arguments = ("--store", private_postgres.url, "--set", "database.start_wait=1m")
    with (
        ServiceProcess("bridge", *arguments, log=tmp_path / "bridge") as bridge,
        ServiceProcess("executor", *arguments, log=tmp_path / "executor") as executor,
        ServiceProcess("executor", *arguments, log=tmp_path / "stopped") as stopped,
    ):
        for each in (bridge, executor, stopped):
            eventually_blocking(partial(_waits, each), 20)
        assert stopped.stop(10) == 0
        private_postgres.start()
        for each in (bridge, executor):
            each.wait_ready()
            assert each.stop() == 0


def test_a_database_that_is_killed_and_comes_back_costs_no_timer(
    private_postgres: EmbeddedPostgres, tmp_path: Path, receiver: Receiver
) -> None:
    """Meanwhile creates are answered 503, the process lives and says that it is not ready."""
    arguments = ("--store", private_postgres.url, "--groups", "examples/timergroup.yaml")
    allowed = ("--set", "engine.deny_private_targets=false", "--log-level", "error")
    with ServiceProcess("standalone", *arguments, *allowed, log=tmp_path / "log") as service:
        service.wait_ready()
        client = Client(service.url)
        soon = [client.create("demo", delay="1s", callbackUrl=receiver.url + "/soon")["id"] for _ in range(20)]
        private_postgres.kill()
        eventually_blocking(lambda: client.get("/readyz").status == 503)
        answer = client.request("POST", "/api/v1/groups/demo/timers", {"delay": "1s", "callbackUrl": "http://a/"})
        assert (answer.status, answer.body["code"]) == (503, "STORE_UNAVAILABLE")
        assert client.get("/livez").status == 200
        private_postgres.start()
        eventually_blocking(lambda: client.get("/readyz").status == 200, 30)
        eventually_blocking(lambda: len(receiver.arrivals("/soon")) >= len(soon), 30)
        eventually_blocking(lambda: all(client.timer("demo", one)["state"] == "completed" for one in soon), 30)
        assert service.stop() == 0
        assert "Traceback" not in service.output
