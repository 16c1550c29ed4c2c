"""What the faults of pods are made of, as far as it needs no cluster."""

import subprocess
import sys
import time
from pathlib import Path

import orjson

from e2e.__main__ import chosen, parser
from e2e.kubectl import Pod
from e2e.registry import SCENARIOS
from e2e.remote import RemoteClient
from e2e.stage import merged
from faults.ledger import Kind
from faults.load import GROUP
from faults.receiving import receiving
from tests.support.postgres import free_port
from tests.support.process import ServiceProcess
from tests.support.waiting import eventually_blocking


def test_every_fault_has_a_name_of_its_own_and_some_are_short() -> None:
    names = [one.name for one in SCENARIOS]
    assert len(set(names)) == len(names)
    assert [one.name for one in chosen(parser().parse_args(["--only", "pause"]).only, short=True)] == ["pause"]
    assert 0 < len(chosen([], short=True)) < len(chosen([], short=False)) == len(names)


def test_values_are_merged_as_helm_merges_them() -> None:
    one = {"executor": {"replicas": 3, "settings": {}}, "crds": {"install": False}}
    assert merged(one, {"executor": {"replicas": 1}, "settings": {"log": {"level": "debug"}}}) == {
        "executor": {"replicas": 1, "settings": {}},
        "crds": {"install": False},
        "settings": {"log": {"level": "debug"}},
    }


def test_a_pod_is_read_as_the_api_server_says_it() -> None:
    body = {
        "metadata": {"name": "a", "uid": "1-2", "deletionTimestamp": "2026-01-01T00:00:00Z"},
        "status": {"podIP": "10.88.0.7", "conditions": [{"type": "Ready", "status": "True"}]},
    }
    assert Pod.parse(body) == Pod("a", "1-2", "10.88.0.7", ready=True, deleting=True)
    assert Pod.parse({"metadata": {"name": "b", "uid": "3"}, "status": {}}) == Pod(
        "b", "3", "", ready=False, deleting=False
    )


def test_the_clients_process_gives_the_ledger_that_a_client_in_this_process_would(tmp_path: Path) -> None:
    manifest = {
        "apiVersion": "durabletimer.dev/v1alpha1",
        "kind": "TimerGroup",
        "metadata": {"name": GROUP},
        "spec": {},
    }
    (tmp_path / "group.yaml").write_bytes(orjson.dumps(manifest))
    store = f"sqlite:///{tmp_path / 'store.sqlite'}"
    arguments = (
        "--store",
        store,
        "--groups",
        str(tmp_path / "group.yaml"),
        "--set",
        "engine.deny_private_targets=false",
    )
    address = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "e2e.client", *address.split(":")]
    with (
        receiving() as receiver,
        ServiceProcess("standalone", *arguments, log=tmp_path / "log") as service,
        subprocess.Popen(command) as process,
    ):
        try:
            service.wait_ready()
            client = RemoteClient(address, [service.url], receiver.targets, scale=0.2, slow=0.0)
            eventually_blocking(lambda: begun(client))
            client.run()
            until = time.time() + 3
            eventually_blocking(lambda: receiver.count() > 100 and time.time() > until, 30)
            account = client.stop()
            client.end()
        finally:
            process.terminate()
    assert account.ledger.wrong == []
    assert account.unanswered == {}
    entries = account.ledger.entries.values()
    assert {entry.kind for entry in entries} == set(Kind) - {Kind.SLOW}
    assert all(entry.acknowledged is not None for entry in entries)
    assert any(entry.change is not None for entry in entries)


def begun(client: RemoteClient) -> bool:
    """Whether its process listened already, and was told to begin."""
    try:
        client.begin(5.0)
    except ConnectionRefusedError:
        return False
    return True
