"""The standalone service as a process: ready soon, stopped cleanly, nothing lost over a restart or a hard end."""

import base64
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from tests.programs.client import Client
from tests.support.process import ServiceProcess
from tests.support.receiver import Receiver, Reply
from tests.support.waiting import eventually_blocking

START_ALLOWED = 10.0
"""Seconds: the aim is 2; a machine that runs everything at once is allowed more."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def service(tmp_path: Path) -> Iterator[ServiceProcess]:
    service = ServiceProcess(
        "standalone",
        "--store", f"sqlite:///{tmp_path}/timers.sqlite",
        "--groups", "examples/timergroup.yaml",
        "--set", "engine.deny_private_targets=false",
        "--log-format", "json",
        log=tmp_path / "log",
    )  # fmt: skip
    with service:
        service.wait_ready()
        yield service


def test_it_is_ready_soon_and_tells_so(service: ServiceProcess) -> None:
    service.stop()
    began = time.monotonic()
    service.start()
    service.wait_ready()
    assert time.monotonic() - began < START_ALLOWED
    client = Client(service.url)
    for probe in ("/livez", "/healthz", "/readyz"):
        assert client.get(probe).status == 200
    assert client.get("/api.yaml").status == 200


def test_a_timer_goes_through_and_metrics_tell_of_it(service: ServiceProcess, receiver: Receiver) -> None:
    client = Client(service.url)
    created = client.create("demo", delay="200ms", callbackUrl=receiver.url + "/in", payload={"n": 1})
    eventually_blocking(lambda: receiver.arrivals("/in"))
    eventually_blocking(lambda: client.timer("demo", created["id"])["state"] == "completed")
    metrics = client.get("/metrics").body
    for line in (
        'durable_timer_timers_created_total{group="demo"} 1.0',
        'durable_timer_timers_taken_total{group="demo"} 1.0',
        'durable_timer_deliveries_total{group="demo",outcome="completed"} 1.0',
        'durable_timer_lateness_seconds_count{group="demo"} 1.0',
        'durable_timer_claims{group="demo"} 16.0',
        'durable_timer_members{pool="default"} 1.0',
        'durable_timer_http_requests_total{operation="createTimer",status="201"} 1.0',
    ):
        assert line in metrics
    assert 'store_call_duration_seconds_count{method="settle"}' in metrics


def test_successful_timers_are_not_logged(service: ServiceProcess, receiver: Receiver) -> None:
    before = service.output
    client = Client(service.url)
    for number in range(20):
        client.create("demo", id=f"quiet-{number}", delay="0s", callbackUrl=receiver.url)
    eventually_blocking(lambda: len(receiver.arrivals()) == 20)
    assert service.output == before


def test_a_clean_stop_lets_a_callback_end_and_a_restart_fires_what_waited(
    service: ServiceProcess, receiver: Receiver
) -> None:
    receiver.reply("/slow", Reply(delay=1.0))
    client = Client(service.url)
    client.create("demo", id="slow", delay="0s", callbackUrl=receiver.url + "/slow")
    client.create("demo", id="later", delay="3s", callbackUrl=receiver.url + "/later")
    eventually_blocking(lambda: receiver.arrivals("/slow"))
    assert service.stop() == 0
    assert "Traceback" not in service.output
    service.start()
    service.wait_ready()
    assert Client(service.url).timer("demo", "slow")["state"] == "completed"
    eventually_blocking(lambda: receiver.arrivals("/later"))
    assert len(receiver.arrivals("/slow")) == 1


def test_a_second_signal_ends_it_at_once_and_the_timer_fires_again(service: ServiceProcess, receiver: Receiver) -> None:
    receiver.reply("/stuck", Reply(delay=60.0), Reply())
    Client(service.url).create(
        "demo", id="stuck", delay="0s", callbackUrl=receiver.url + "/stuck", callbackTimeoutSeconds=300
    )
    eventually_blocking(lambda: receiver.arrivals("/stuck"))
    service.signal(signal.SIGTERM)
    eventually_blocking(lambda: "stopping" in service.output)
    with pytest.raises(subprocess.TimeoutExpired):
        service.wait(0.5)
    service.signal(signal.SIGTERM)
    assert service.wait(5) == 128 + signal.SIGTERM
    service.start()
    service.wait_ready()
    eventually_blocking(lambda: len(receiver.arrivals("/stuck")) == 2)


def test_kill_loses_nothing_that_was_acknowledged(service: ServiceProcess, receiver: Receiver) -> None:
    client = Client(service.url)
    ids = [client.create("demo", delay="1s", callbackUrl=f"{receiver.url}/kept")["id"] for _ in range(20)]
    service.kill()
    service.start()
    service.wait_ready()
    eventually_blocking(lambda: len(receiver.arrivals("/kept")) >= len(ids))
    client = Client(service.url)
    eventually_blocking(lambda: all(client.timer("demo", one)["state"] == "completed" for one in ids))


def test_loopback_targets_are_denied_unless_the_setting_says_otherwise(tmp_path: Path, receiver: Receiver) -> None:
    arguments = ("--store", f"sqlite:///{tmp_path}/t.sqlite", "--groups", "examples/timergroup.yaml")
    with ServiceProcess("standalone", *arguments, log=tmp_path / "log") as service:
        service.wait_ready()
        client = Client(service.url)
        client.create("demo", id="t", delay="0s", callbackUrl=receiver.url)
        eventually_blocking(lambda: client.timer("demo", "t")["state"] == "failed")
        assert receiver.arrivals() == []


SIGNED = """\
apiVersion: durabletimer.dev/v1alpha1
kind: TimerGroup
metadata: {name: signed}
spec:
  callback: {signing: {secretRefs: [{name: signing, key: secret}]}}
"""


def test_a_group_waits_for_its_signing_secret_and_signs_with_it(tmp_path: Path, receiver: Receiver) -> None:
    (tmp_path / "group.yaml").write_text(SIGNED)
    secret = "whsec_" + base64.b64encode(b"k" * 32).decode()
    arguments = [
        "--store", f"sqlite:///{tmp_path}/t.sqlite", "--groups", f"{tmp_path}/group.yaml",
        "--set", f"secrets_dir={tmp_path}/secrets", "--set", "engine.deny_private_targets=false",
    ]  # fmt: skip
    with ServiceProcess("standalone", *arguments, log=tmp_path / "log") as service:
        service.wait_ready()
        client = Client(service.url)
        client.create("signed", id="t", delay="0s", callbackUrl=receiver.url, payload={"n": 1})
        with pytest.raises(TimeoutError):
            eventually_blocking(receiver.arrivals, 1.0)
        (tmp_path / "secrets" / "signing").mkdir(parents=True)
        (tmp_path / "secrets" / "signing" / "secret").write_text(secret + "\n")
        eventually_blocking(receiver.arrivals, 30)
    arrival = receiver.arrivals()[0]
    assert Webhook(secret).verify(arrival.body, dict(arrival.headers))["timerId"] == "t"


def test_a_fault_of_the_program_is_logged_with_its_traceback(tmp_path: Path) -> None:
    """As a line of JSON where that is asked for, and with exit code 1."""
    code = (
        "from durable_timer.stores.sqlite import store\n"
        "def broken(*_): raise RuntimeError('sqlite://u:hunter2@h')\n"
        "store.SqliteStore.migrate = broken\n"
        "from durable_timer.cli import main; main()\n"
    )
    arguments = ["standalone", "--store", f"sqlite:///{tmp_path}/t.sqlite", "--log-format", "json"]
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    said = json.loads(line)
    assert (said["event"], said["level"]) == ("ended by a fault of the program", "critical")
    assert "RuntimeError" in said["exception"]
    assert "hunter2" not in line
