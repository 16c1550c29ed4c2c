"""Timer resources on a real API server, PostgreSQL, an executor and a receiver: from apply to the callback, and back."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from durable_timer.models.timer import Timer
from durable_timer.stores.base import Store
from tests.cluster.operators import Site
from tests.programs.client import Client
from tests.support.kubectl import Kubectl
from tests.support.process import ServiceProcess
from tests.support.receiver import Receiver, Reply
from tests.support.waiting import eventually_blocking

PAST = "2026-01-01T00:00:00Z"
RUN = "durabletimer.dev/run-requested-at"
REDRIVE = "durabletimer.dev/redrive-requested-at"
OWN_TARGETS = ("--set", "engine.deny_private_targets=false")
QUIET = 3.0
"""Seconds in which a callback that should not come would have come."""

pytestmark = [pytest.mark.postgresql, pytest.mark.usefixtures("crds")]


@pytest.fixture
def site(kubectl: Kubectl, namespace: str, postgres_database: str, tmp_path: Path) -> Iterator[Site]:
    with Site(kubectl, namespace, postgres_database, tmp_path) as made:
        yield made


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made


def timer(name: str, url: str, *, annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    when = {} if "schedule" in spec else {"executeAt": PAST}
    return {
        "apiVersion": "durabletimer.dev/v1alpha1",
        "kind": "Timer",
        "metadata": {"name": name, "annotations": annotations or {}},
        "spec": {"groupRef": {"name": "orders"}, "callbackUrl": url} | when | spec,
    }


def in_an_hour() -> str:
    return (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


def apply(site: Site, *timers: dict[str, Any]) -> None:
    site.kubectl.apply(*timers, namespace=site.namespace)


def status(site: Site, name: str) -> dict[str, Any]:
    found: dict[str, Any] = site.kubectl.get("tm", name, namespace=site.namespace).get("status", {})
    return found


def wait_status(site: Site, name: str, **fields: Any) -> dict[str, Any]:
    """The status, once its fields are these."""

    def reached() -> dict[str, Any]:
        present = status(site, name)
        assert {field: present.get(field) for field in fields} == fields
        return present

    return eventually_blocking(reached, 20.0)


def wait_reason(site: Site, name: str, reason: str) -> dict[str, Any]:
    """The condition Ready, once it has this reason."""

    def reached() -> dict[str, Any]:
        condition = site.condition(name, "Ready", "tm")
        assert condition.get("reason") == reason, condition
        return condition

    return eventually_blocking(reached, 30.0)


def wait_ready(site: Site, *names: str) -> None:
    resources = [f"tm/{name}" for name in names]
    site.kubectl("wait", "--for=condition=Ready", *resources, "-n", site.namespace, "--timeout=20s")


def row(site: Site, name: str, group_id: str = "orders") -> Timer | None:
    async def read(store: Store) -> Timer | None:
        return (await store.get(group_id, [f"k8s:{site.namespace}:{name}"]))[0]

    return site.ask(read)


def quiet(receiver: Receiver, arrivals: int) -> None:
    """No callback came beyond so many, and for a while none does."""
    until = time.monotonic() + QUIET
    eventually_blocking(lambda: time.monotonic() >= until, QUIET + 5)
    assert len(receiver.arrivals()) == arrivals


def serve(site: Site) -> tuple[ServiceProcess, ServiceProcess]:
    """An operator and an executor, and the group that they serve."""
    processes = site.operator(), site.executor(*OWN_TARGETS)
    site.apply_group("orders", shards=4)
    site.wait_ready("orders")
    return processes


def test_timers_wait_for_their_group_fire_and_show_what_became_of_them(site: Site, receiver: Receiver) -> None:
    operator = site.operator()
    site.executor(*OWN_TARGETS)
    site.wait_leading(operator)
    apply(
        site,
        timer("once", f"{receiver.url}/once", payload={"order": 7}),
        timer("later", f"{receiver.url}/later", executeAt=in_an_hour()),
        timer("monthly", f"{receiver.url}/monthly", schedule={"cron": "0 9 1 * *", "timeZone": "Europe/Berlin"}),
        timer("asleep", f"{receiver.url}/asleep", suspend=True),
    )
    assert wait_reason(site, "once", "GroupNotFound")["status"] == "False"
    site.apply_group("orders", shards=4)
    wait_ready(site, "once", "later", "monthly", "asleep")
    found = wait_status(site, "once", state="completed", lastOutcome="completed", groupId="orders")
    assert found["timerId"] == f"k8s:{site.namespace}:once"
    assert "nextRunTime" not in found
    assert site.condition("once", "LastRunSucceeded", "tm")["status"] == "True"
    assert status(site, "later")["nextRunTime"] > status(site, "once")["lastRunTime"]
    assert site.condition("asleep", "Suspended", "tm")["status"] == "True"
    assert {"Stalled", "Reconciling"}.isdisjoint(one["type"] for one in status(site, "once")["conditions"])
    [arrival] = receiver.arrivals()
    assert json.loads(arrival.body)["payload"] == {"order": 7}

    apply(site, timer("asleep", f"{receiver.url}/awake"))
    wait_status(site, "asleep", state="completed", observedGeneration=2)
    quiet(receiver, 2)


def test_annotations_act_once_for_each_value(site: Site, receiver: Receiver) -> None:
    serve(site)
    yearly = {"cron": "0 0 1 1 *"}
    for value, calls in (("a", 1), ("a", 1), ("b", 2)):
        apply(site, timer("t", f"{receiver.url}/t", schedule=yearly, annotations={RUN: value}))
        wait_status(site, "t", lastRunRequest=value, lastOutcome="completed")
        eventually_blocking(lambda calls=calls: len(receiver.arrivals()) == calls)  # type: ignore[misc]
    assert site.events("t").count(("Normal", "RunRequested")) == 2
    receiver.reply("/f", Reply(status=410), Reply())
    apply(site, timer("f", f"{receiver.url}/f"))
    wait_status(site, "f", state="failed")
    site.kubectl("annotate", "tm", "f", f"{REDRIVE}=1", "-n", site.namespace)
    wait_status(site, "f", lastRedriveRequest="1", state="completed")
    quiet(receiver, 4)


def test_a_cluster_built_anew_adopts_its_rows_and_fires_none(site: Site, receiver: Receiver) -> None:
    first, _ = serve(site)
    manifests = [
        timer("done", f"{receiver.url}/done"),
        timer("later", f"{receiver.url}/later", executeAt=in_an_hour()),
        timer("yearly", f"{receiver.url}/yearly", schedule={"cron": "0 0 1 1 *"}, annotations={RUN: "x"}),
    ]
    apply(site, *manifests)
    wait_status(site, "done", state="completed")
    wait_status(site, "yearly", lastOutcome="completed")
    before = {name: row(site, name) for name in ("done", "later", "yearly")}
    first.stop()
    empty(site)
    apply(site, *manifests)
    second = site.operator()
    site.wait_leading(second, within=30.0)
    site.apply_group("orders", shards=4)
    wait_ready(site, "done", "later", "yearly")
    for name, old in before.items():
        new = row(site, name)
        assert new is not None
        assert old is not None
        assert new.managed_by is not None
        assert old.managed_by is not None
        uid = site.kubectl.get("tm", name, namespace=site.namespace)["metadata"]["uid"]
        assert new.managed_by.uid == uid != old.managed_by.uid
        assert (new.uid, new.occurrence, new.execute_at, new.state) == (
            old.uid,
            old.occurrence,
            old.execute_at,
            old.state,
        )
    assert status(site, "done")["lastOutcome"] == "completed"
    quiet(receiver, 2)


def empty(site: Site) -> None:
    """Takes all our objects away, as a cluster that is gone."""
    for kind, names in (("tm", ("done", "later", "yearly")), ("tg", ("orders",))):
        for name in names:
            site.kubectl.patch(kind, name, {"metadata": {"finalizers": None}}, namespace=site.namespace)
            site.kubectl("delete", kind, name, "-n", site.namespace)


def test_deletion_by_policy_also_without_a_group(site: Site, receiver: Receiver) -> None:
    serve(site)
    apply(
        site,
        timer("goes", receiver.url, executeAt=in_an_hour()),
        timer("stays", receiver.url, executeAt=in_an_hour(), deletionPolicy="Retain"),
        timer("orphan", receiver.url, executeAt=in_an_hour()),
    )
    wait_ready(site, "goes", "stays", "orphan")
    site.kubectl("delete", "tm", "goes", "stays", "-n", site.namespace, "--timeout=20s")
    assert row(site, "goes") is None
    kept = row(site, "stays")
    assert kept is not None
    assert kept.managed_by is None
    site.kubectl("delete", "tg", "orders", "-n", site.namespace, "--timeout=20s")
    wait_reason(site, "orphan", "GroupNotReady")
    site.kubectl("delete", "tm", "orphan", "-n", site.namespace, "--timeout=20s")
    assert row(site, "orphan") is None


def test_what_the_group_refuses_stalls_and_heals_when_either_changes(site: Site, receiver: Receiver) -> None:
    site.operator()
    site.executor(*OWN_TARGETS)
    site.apply_group("orders", payload={"maxBytes": 1024, "schema": {"type": "object"}})
    apply(site, timer("big", receiver.url, payload={"a": "x" * 2000}), timer("odd", receiver.url, payload=[1]))
    for name, reason in (("big", "PayloadTooLarge"), ("odd", "PayloadRefused")):
        assert wait_reason(site, name, reason)["status"] == "False"
        assert site.condition(name, "Stalled", "tm")["reason"] == reason
        assert ("Warning", reason) in site.events(name)
        assert row(site, name) is None
    site.apply_group("orders", payload={"maxBytes": 4096})
    wait_ready(site, "big", "odd")


def test_rest_shows_a_declared_timer_and_does_not_change_it(site: Site, receiver: Receiver, tmp_path: Path) -> None:
    processes = serve(site)
    hidden = {"name": "authorization", "valueFrom": {"secretKeyRef": {"name": "token", "key": "value"}}}
    plain = {"name": "x-plain", "value": "hush-hush"}
    apply(site, timer("t", receiver.url, executeAt=in_an_hour(), headers=[hidden, plain]))
    wait_ready(site, "t")
    with ServiceProcess("bridge", "--store", site.store, log=tmp_path / "bridge.log") as bridge:
        bridge.wait_ready()
        shown = held(Client(bridge.url), f"/api/v1/groups/orders/timers/k8s:{site.namespace}:t")
    told = site.kubectl("get", "events", "-n", site.namespace, "-o", "json") + json.dumps([status(site, "t"), shown])
    logs = "".join(process.output for process in (*processes, bridge))
    assert "hush-hush" not in told + logs
    assert '"token"' not in told + logs


def held(client: Client, path: str) -> dict[str, Any]:
    """The timer as REST shows it, after REST refused to change it, and ran it."""
    shown = client.get(path)
    assert (shown.status, sorted(shown.body["headerNames"])) == (200, ["authorization", "x-plain"])
    for method, body in (("PUT", {"labels": {"a": "b"}}), ("DELETE", None)):
        refused = client.request(method, path, body)
        assert (refused.status, refused.body["code"]) == (409, "TIMER_MANAGED")
    assert client.request("POST", f"{path}:run").status == 200
    found: dict[str, Any] = shown.body
    return found


def test_a_header_is_read_from_a_secret_of_the_timers_namespace_when_it_is_sent(
    site: Site, receiver: Receiver, tmp_path: Path
) -> None:
    site.operator()
    secrets = ("kubernetes.secrets=true", f"kubernetes.secret_namespaces={site.namespace}")
    arguments = ("--store", site.store, *OWN_TARGETS, *(word for one in secrets for word in ("--set", one)))
    environment = {"KUBECONFIG": str(site.kubectl.kubeconfig)}
    with ServiceProcess("executor", *arguments, log=tmp_path / "secrets.log", environment=environment):
        from_a_secret(site, receiver)


def from_a_secret(site: Site, receiver: Receiver) -> None:
    """A timer waits for its Secret, unsent, and carries it when it is there."""
    site.apply_group("orders", shards=4)
    source = {"secretKeyRef": {"name": "token", "key": "value"}}
    apply(site, timer("t", f"{receiver.url}/t", headers=[{"name": "authorization", "valueFrom": source}]))
    wait_status(site, "t", lastError="SECRET_UNAVAILABLE")
    assert receiver.arrivals() == []
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"}, "stringData": {"value": "Bearer 7"}}
    site.kubectl.apply(secret, namespace=site.namespace)
    eventually_blocking(receiver.arrivals, 30.0)
    [arrival] = receiver.arrivals()
    assert arrival.headers["authorization"] == "Bearer 7"
    wait_status(site, "t", state="completed")
