"""Faults say so when they did not happen, and end when what they did ends: on processes that only pretend."""

import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from faults import kills, outages, scene, stops
from faults.checks import Fault
from faults.clients import Account
from faults.ledger import Callback, Kind, Ledger
from faults.load import Targets
from faults.next_release import NEXT
from faults.receiving import Receiver
from faults.rig import Rig
from faults.scene import Pace, play


@dataclass
class Service:
    """Starts at once; is ready after `ready_after` seconds."""

    ready_after: float = 0.0
    output: str = ""
    started: float = 0.0

    def signal(self, _: object) -> None: ...

    def kill(self) -> None: ...

    def stop(self) -> int:
        return 0

    def start(self) -> None:
        self.started = time.time()

    def wait_ready(self) -> None:
        time.sleep(self.ready_after)


@dataclass
class Ownership:
    version: str

    def living(self, *names: str) -> set[str]:
        return {f"incarnation of {name}" for name in names}

    def in_flight(self, incarnations: Collection[str]) -> frozenset[str]:
        return frozenset(incarnations)

    def wait_shared(self, *_: str) -> None: ...

    def fetch(self, _: str) -> list[dict[str, str]]:
        return [{"version_num": self.version}]


@dataclass
class Postgres:
    log: Path
    running: bool = True


@dataclass
class Pretended:
    postgres: Postgres
    ownership: Ownership = field(default_factory=lambda: Ownership(f"{NEXT:04}"))
    services: dict[str, Service] = field(
        default_factory=lambda: {name: Service() for name in ("bridge-1", "executor-1", "executor-2")}
    )

    def add(self, name: str, service: Service) -> None:
        self.services[name] = service

    def service(self, _: str, **__: bool) -> Service:
        return Service()


@pytest.fixture
def pretended(tmp_path: Path) -> Pretended:
    log = tmp_path / "postgres.log"
    log.write_text("ready\n")
    return Pretended(Postgres(log))


def rig(pretended: Pretended) -> Rig:
    return cast(Rig, pretended)


def test_the_kill_of_both_ends_when_they_are_started_not_when_they_are_ready(
    pretended: Pretended, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kills, "BOTH_STARTED_AGAIN_AFTER", 0.0)
    pretended.services["executor-1"].ready_after = 0.5
    fault = kills.both(rig(pretended))
    started = max(one.started for one in pretended.services.values())
    assert started <= fault.ended < started + 0.5
    assert fault.in_flight == {"incarnation of executor-1", "incarnation of executor-2"}


def test_the_next_release_has_to_make_its_schema(pretended: Pretended) -> None:
    stops.release(rig(pretended))
    pretended.ownership.version = f"{NEXT - 1:04}"
    with pytest.raises(RuntimeError, match="schema"):
        stops.release(rig(pretended))


@pytest.mark.parametrize("who", ["PostgreSQL", "an executor", "nobody"])
def test_a_full_disk_has_to_be_noticed(pretended: Pretended, monkeypatch: pytest.MonkeyPatch, who: str) -> None:
    said = "ERROR:  could not extend file: No space left on device\n"

    def fill(_: int) -> None:
        if who == "PostgreSQL":
            pretended.postgres.log.write_text(said)
        elif who == "an executor":
            pretended.services["executor-1"].output = said

    monkeypatch.setattr(outages, "FULL_FOR", 0.01)
    monkeypatch.setattr(outages, "_fill", fill)
    if who == "nobody":
        with pytest.raises(RuntimeError, match="room"):
            outages.disk_full(rig(pretended))
    else:
        outages.disk_full(rig(pretended))
    assert not pretended.postgres.log.with_name("ballast").exists()


class Silent(Receiver):
    """Was never sent anything."""

    def callbacks(self, first: int = 0) -> list[Callback]:
        return []

    def end(self) -> None: ...


class Client:
    """Was promised nothing but one schedule, at an instant."""

    def __init__(self, acknowledged: float) -> None:
        self._acknowledged = acknowledged

    def begin(self, lasts: float) -> None: ...

    def run(self) -> None: ...

    def stop(self) -> Account:
        ledger = Ledger()
        ledger.open(Kind.SCHEDULE, 1, self._acknowledged).acknowledged = self._acknowledged
        return Account(ledger, {})

    def end(self) -> None: ...


@dataclass
class Stage:
    acknowledged: float
    receiver: Receiver = field(default_factory=lambda: Silent(Targets("", "")))

    def client(self, scale: float, slow: float) -> Client:
        return Client(self.acknowledged)


def fault(_: Stage) -> Fault:
    return Fault(begun=time.time(), ended=time.time())


def test_a_minute_comes_soon_after_each_fault_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Pace().on_the_minute
    for second in range(60):
        monkeypatch.setattr(time, "time", lambda at=1_800_000_000.0 + second: at)
        begins = second + scene._until_minute(Pace())
        assert any(begins <= minute <= begins + Pace().after / 2 for minute in (60, 120))


def test_a_fault_without_a_schedule_due_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene, "_until_minute", lambda *_: 0.0)
    monkeypatch.setattr(scene, "ALL_OUT_WITHIN", 0.0)
    pace = Pace(calm=0.0, after=0.0)
    with pytest.raises(RuntimeError, match="schedule"):
        play(Stage(time.time() + 120), fault, pace, lambda _: None, lasts=0)
    assert play(Stage(time.time() - 120), fault, pace, lambda _: None, lasts=0).verdict.schedules == 2
