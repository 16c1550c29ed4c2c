"""kill -9 of one of two executors under load: everything is delivered, nothing early, and soon again."""

import http.client
import json
import signal
import threading
import time
import zlib
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.programs.client import Client
from tests.programs.cluster import Cluster, cluster
from tests.support.receiver import Arrival, Receiver
from tests.support.waiting import eventually_blocking

pytestmark = pytest.mark.postgresql

PER_SECOND = 200
SECONDS = 10
SHARDS = 16
LEAD = timedelta(seconds=2)
FIRES_AGAIN_WITHIN = timedelta(seconds=3)
"""From the kill until each of the dead executor's shards fires, on a machine that does not stand still itself."""

FROZEN = timedelta(seconds=1)
"""What runs at the kill and still does after this belongs to the dead one; its death is declared later."""


class Watch(threading.Thread):
    """Measures by how much the machine held up a thread that wants to run each 10 ms."""

    def __init__(self) -> None:
        super().__init__(name="watch", daemon=True)
        self._ended = threading.Event()
        self.held_up = timedelta(0)

    def run(self) -> None:
        while True:
            began = time.monotonic()
            if self._ended.wait(0.01):
                return
            if (over := time.monotonic() - began - 0.01) > 0.02:
                self.held_up += timedelta(seconds=over)

    def stop(self) -> None:
        self._ended.set()
        self.join()


class Creator(threading.Thread):
    """Creates its part of the timers through one bridge, on a schedule of its own; `due` is by id."""

    def __init__(self, url: str, target: str, name: str, due_from: datetime) -> None:
        super().__init__(name=name, daemon=True)
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
        self._target = target
        self._due_from = due_from
        self.due: dict[str, datetime] = {}
        self.refused: list[tuple[int, bytes]] = []

    def run(self) -> None:
        step = timedelta(seconds=2 / PER_SECOND)
        began = time.monotonic()
        for number in range(PER_SECOND * SECONDS // 2):
            time.sleep(max(0.0, began + number * step.total_seconds() - time.monotonic()))
            due = self._due_from + number * step
            body = {"id": f"{self.name}-{number}", "executeAt": due.isoformat(), "callbackUrl": self._target}
            self._connection.request(
                "POST", "/api/v1/groups/demo/timers", json.dumps(body), {"content-type": "application/json"}
            )
            answer = self._connection.getresponse()
            content = answer.read()
            if answer.status == http.HTTPStatus.CREATED:
                self.due[f"{self.name}-{number}"] = due
            else:
                self.refused.append((answer.status, content))
        self._connection.close()


def timer_of(arrival: Arrival) -> str:
    timer_id: str = json.loads(arrival.body)["timerId"]
    return timer_id


def shard_of(timer_id: str) -> int:
    return zlib.crc32(timer_id.encode()) % SHARDS


def running(client: Client) -> set[str]:
    answer = client.get("/api/v1/groups/demo/timers?state=running&pageSize=1000").body
    return {timer["id"] for timer in answer["timers"]}


def start_creators(processes: Cluster, target: str, due_from: datetime) -> list[Creator]:
    creators = [
        Creator(bridge.url, target, f"bridge{number}", due_from) for number, bridge in enumerate(processes.bridges)
    ]
    for creator in creators:
        creator.start()
    return creators


def kill_one(processes: Cluster) -> tuple[datetime, set[str]]:
    """When an executor was killed, and which timers it had in flight."""
    client = Client(processes.bridges[0].url)
    killed_at = datetime.now(UTC)
    processes.executors[0].signal(signal.SIGKILL)
    at_the_kill = running(client)
    time.sleep(FROZEN.total_seconds())
    return killed_at, at_the_kill & running(client)


def test_a_killed_executors_timers_fire_again_soon(postgres_database: str, tmp_path: Path) -> None:
    with Receiver() as receiver, cluster(postgres_database, tmp_path) as processes:
        processes.wait_shared(SHARDS)
        due_from = datetime.now(UTC) + LEAD
        creators = start_creators(processes, receiver.url + "/", due_from)
        eventually_blocking(lambda: datetime.now(UTC) > due_from + timedelta(seconds=SECONDS / 2), 60)
        watch = Watch()
        watch.start()
        killed_at, in_flight = kill_one(processes)
        for creator in creators:
            creator.join(60)
        watch.stop()
        due = {timer_id: at for creator in creators for timer_id, at in creator.due.items()}
        eventually_blocking(lambda: due.keys() <= {timer_of(one) for one in receiver.arrivals()}, 30)
        arrivals = receiver.arrivals()

    assert [creator.refused for creator in creators] == [[], []]
    assert len(due) == PER_SECOND * SECONDS
    assert [one for one in arrivals if one.at < due[timer_of(one)]] == [], "early"
    twice = {timer_id for timer_id, count in Counter(map(timer_of, arrivals)).items() if count > 1}
    assert twice <= in_flight
    orphaned = {shard_of(timer_id) for timer_id in in_flight}
    assert orphaned, "the killed executor had nothing in flight: the test proved nothing"
    again = {shard_of(timer_of(one)): one.at for one in reversed(arrivals) if one.at > killed_at + FROZEN}
    slowest = max(again[shard] for shard in orphaned) - killed_at
    assert slowest < FIRES_AGAIN_WITHIN + watch.held_up
