"""The operator on a real API server and PostgreSQL: from apply to Ready, what it says when it cannot, and its silence."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.operators import Site
from tests.cluster.relay import counted
from tests.programs.client import Client
from tests.support.kubectl import Kubectl
from tests.support.postgres import EmbeddedPostgres, new_database
from tests.support.waiting import eventually_blocking

IDLE_FOR = 15.0
ANNOTATION = "durabletimer.dev/last-handled-spec"

pytestmark = [pytest.mark.postgresql, pytest.mark.usefixtures("crds")]


@pytest.fixture
def site(kubectl: Kubectl, namespace: str, postgres_database: str, tmp_path: Path) -> Iterator[Site]:
    with Site(kubectl, namespace, postgres_database, tmp_path) as made:
        yield made


def test_an_applied_group_becomes_ready_and_then_nothing_is_written(site: Site, tmp_path: Path) -> None:
    with counted(site.kubectl.kubeconfig, tmp_path) as (relay, kubeconfig):
        operator = site.operator(kubeconfig=kubeconfig)
        site.executor()
        site.wait_leading(operator)
        site.apply_group("orders", shards=8)
        site.kubectl("wait", "--for=condition=Ready", "tg/orders", "-n", site.namespace, "--timeout=20s")
        site.apply_group("orders", shards=8, paused=True)
        site.wait_reason("orders", "Paused", "Paused")
        status = site.group("orders")["status"]
        assert (status["groupId"], status["observedGeneration"], status["summary"]["shards"]) == ("orders", 2, "8/8")
        assert [(one["state"], one["shards"]) for one in status["executors"]] == [("Active", "0-7")]
        assert {one["observedGeneration"] for one in status["conditions"]} == {2}
        assert site.condition("orders", "Ready")["status"] == "True"
        assert {"Stalled", "Reconciling"}.isdisjoint(one["type"] for one in status["conditions"])
        assert site.events("orders") == [("Normal", "Ready"), ("Normal", "Paused")]

        client = Client(operator.url)
        assert [client.get(probe).status for probe in ("/livez", "/readyz")] == [200, 200]
        numbers: str = client.get("/metrics").body
        for line in (
            "durable_timer_operator_leader 1.0",
            "durable_timer_operator_queue_depth 0.0",
            'durable_timer_operator_groups{ready="True",reason="Ready"} 1.0',
            'durable_timer_operator_assignments_written_total{pool="default",store="default"} 8.0',
        ):
            assert line in numbers

        relay.requests.clear()
        quiet_until = time.monotonic() + IDLE_FOR
        eventually_blocking(lambda: time.monotonic() >= quiet_until, IDLE_FOR + 5)
        paths = {path.partition("?")[0] for _, path in relay.writes()}
        assert paths == {f"/apis/coordination.k8s.io/v1/namespaces/{site.namespace}/leases/durable-timer-operator"}


def test_kopf_keeps_a_hash_where_a_large_payload_would_overflow_the_annotations(site: Site) -> None:
    site.operator()
    site.executor()
    site.apply_group("orders", payload={"maxBytes": 102_400})
    payload = "雪" * 21_000
    timer = {
        "apiVersion": "durabletimer.dev/v1alpha1",
        "kind": "Timer",
        "metadata": {"name": "large"},
        "spec": {
            "groupRef": {"name": "orders"},
            "executeAt": "2099-01-01T00:00:00Z",
            "callbackUrl": "http://127.0.0.1:1/",
            "payload": payload,
        },
    }
    for _ in range(2):
        site.kubectl.apply(timer, namespace=site.namespace)
        site.kubectl("wait", "--for=condition=Ready", "tm/large", "-n", site.namespace, "--timeout=30s")
        found = eventually_blocking(lambda: site.kubectl.get("tm", "large", namespace=site.namespace))
        eventually_blocking(
            lambda: ANNOTATION in site.kubectl.get("tm", "large", namespace=site.namespace)["metadata"]["annotations"]
        )
        ours = {name: text for name, text in found["metadata"]["annotations"].items() if "durabletimer.dev" in name}
        assert len(json.dumps(ours)) < 1024
        timer["spec"]["callbackUrl"] = "http://127.0.0.1:2/"  # type: ignore[index]


def test_what_the_api_server_cannot_check_stalls_with_a_reason_and_heals(site: Site) -> None:
    site.operator()
    site.apply_group("bad-schema", payload={"schema": {"type": "no-such-type"}})
    site.apply_group("elsewhere", store="nowhere")
    for name, reason, words in (
        ("bad-schema", "InvalidSpec", "spec.payload.schema"),
        ("elsewhere", "StoreUnknown", "'nowhere'"),
    ):
        found = site.wait_reason(name, reason)
        assert found["status"] == "False"
        assert words in found["message"]
        assert site.condition(name, "Stalled")["reason"] == reason
        assert ("Warning", reason) in site.events(name)
    site.apply_group("bad-schema", payload={"schema": {"type": "object"}})
    site.wait_reason("bad-schema", "NoExecutors")
    assert site.condition("bad-schema", "Stalled") == {}
    site.executor()
    site.wait_ready("bad-schema")


def test_a_group_id_belongs_to_the_first_until_it_is_handed_over(site: Site) -> None:
    site.operator()
    site.executor()
    site.apply_group("first", groupId="shared")
    site.wait_ready("first")
    site.apply_group("second", groupId="shared")
    owner = f"default/{site.namespace}/first"
    assert owner in site.wait_reason("second", "GroupIdConflict")["message"]
    assert not site.group("second")["status"]["executors"]

    site.kubectl("annotate", "tg", "second", f"durabletimer.dev/adopt-from={owner}", "-n", site.namespace)
    site.wait_ready("second")
    assert ("Normal", "Adopted") in site.events("second")
    site.wait_reason("first", "GroupIdConflict")
    assert site.rows()["shared"].owner == f"default/{site.namespace}/second"


def test_a_kept_group_comes_back_and_takes_no_other_shard_count(site: Site) -> None:
    site.operator()
    site.executor()
    site.apply_group("kept", shards=4)
    site.wait_ready("kept")
    site.kubectl("delete", "tg", "kept", "-n", site.namespace, "--timeout=10s")
    eventually_blocking(lambda: site.rows()["kept"].state == "deleted", 40)
    site.apply_group("kept", shards=6)
    assert "has 4 shards" in site.wait_reason("kept", "ShardsMismatch")["message"]
    site.kubectl("delete", "tg", "kept", "-n", site.namespace, "--timeout=10s")
    site.apply_group("kept", shards=4)
    site.wait_ready("kept")
    assert site.rows()["kept"].state == "active"


def test_a_store_that_is_away_is_a_condition_and_heals(
    kubectl: Kubectl, namespace: str, private_postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    with new_database(private_postgres.url) as url, Site(kubectl, namespace, url, tmp_path) as site:
        operator = site.operator()
        site.executor()
        site.apply_group("before")
        site.wait_ready("before")
        private_postgres.stop()
        site.apply_group("meanwhile")
        site.wait_reason("before", "StoreUnreachable", within=30)
        site.wait_reason("meanwhile", "StoreUnreachable", within=30)
        assert site.condition("before", "StoreReachable")["status"] == "False"
        assert site.condition("before", "Stalled") == {}
        assert site.group("before")["status"]["executors"]
        private_postgres.start()
        site.wait_ready("before", within=40)
        site.wait_ready("meanwhile", within=40)
        assert site.leads(operator)


def test_a_missing_secret_holds_deliveries_and_heals(site: Site, tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    site.operator()
    site.executor("--set", f"secrets_dir={secrets}")
    site.apply_group("signed", callback={"signing": {"secretRefs": [{"name": "signing", "key": "key"}]}})
    found = site.wait_reason("signed", "SecretMissing", "SecretsAvailable", within=30)
    assert "signing/key" in found["message"]
    site.wait_reason("signed", "SecretMissing")
    assert ("Normal", "Ready") not in site.events("signed")
    place = secrets / site.namespace / "signing"
    place.mkdir(parents=True)
    (place / "key").write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    site.wait_ready("signed", within=40)
