"""Who leads, in virtual time: crashes, freezes, lost answers, clocks that are wrong, a Lease that is deleted."""

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from durable_timer.errors import KubeUnavailable, LeaseLost
from durable_timer.kube.lease import DURATION, GIVE_UP, RENEW, UNHELD_MARGIN, Election
from tests.kube.leases import LeaseClient, LeaseServer
from tests.simulation.loop import Process, VirtualLoop

TAKEN_OVER = RENEW + DURATION + 1.0


class WrongClock:
    """A process's clocks: the monotonic one starts anywhere and is a little fast or slow, the wall clock is years off."""

    def __init__(self, loop: VirtualLoop, rng: random.Random) -> None:
        self._loop = loop
        self._start = rng.uniform(0, 1e6)
        self._rate = rng.uniform(0.99, 1.01)
        self._years = rng.uniform(-20, 20)

    def monotonic(self) -> float:
        return self._start + self._rate * self._loop.time()

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=365 * self._years, seconds=self._loop.time())


class Elector:
    """A process that wants to lead, and starts anew when it has lost."""

    def __init__(self, world: "World", name: str) -> None:
        self._world = world
        self.name = name
        self.starts = 0
        self.lost = 0
        self.process = Process(name)
        self.election: Election
        self.start()

    def start(self) -> None:
        """A new process of that name, the earlier one being gone."""
        world = self._world
        self.starts += 1
        self.process = Process(f"{self.name}-{self.starts}")
        clock = WrongClock(world.loop, world.rng)
        self.election = Election(LeaseClient(world.server), "ns", "lease", self.process.name, clock)
        self._task = world.loop.spawn(self.process, self._run(self.election), self.process.name)

    def crash(self) -> None:
        self._world.loop.crash(self.process)

    @property
    def leading(self) -> bool:
        """Whether a program of it that runs now would write."""
        return self.process.alive and not self.process.paused and self.election.leading()

    def stop(self) -> None:
        """A planned stop."""
        release, gone = self.election.release(), self.process
        self._world.loop.crash(gone)
        self._task = self._world.loop.spawn(Process("last words"), release, "release")

    async def _run(self, election: Election) -> None:
        await election.acquire()
        try:
            await election.hold()
        except LeaseLost:
            self.lost += 1
            assert not election.leading()
            self.start()


class World:
    """Some electors and one API server."""

    def __init__(self, electors: int = 2, seed: int = 0) -> None:
        self.rng = random.Random(seed)
        self.loop = VirtualLoop()
        self.server = LeaseServer(self.rng)
        self.electors = [Elector(self, f"operator-{number}") for number in range(electors)]

    @property
    def leaders(self) -> list[Elector]:
        return [elector for elector in self.electors if elector.leading]

    def until(self, done: Callable[[], bool], within: float) -> float:
        """Runs until it is so, and answers after how many seconds; there is never more than one leader meanwhile."""
        began = self.loop.time()

        def asked() -> bool:
            assert len(self.leaders) <= 1, [leader.name for leader in self.leaders]
            return done()

        assert self.loop.run_until(asked, began + within), f"not within {within} s"
        return self.loop.time() - began

    def pass_time(self, seconds: float) -> None:
        over: list[bool] = []
        self.loop.call_exactly(seconds, over.append, True)
        self.until(lambda: bool(over), seconds + 1)

    def led(self) -> Elector:
        """The leader, as soon as there is one."""
        self.until(lambda: bool(self.leaders), TAKEN_OVER)
        return self.leaders[0]


def test_one_leads_and_goes_on_leading() -> None:
    world = World(3)
    leader = world.led()
    world.pass_time(600)
    assert world.leaders == [leader]
    assert [elector.lost for elector in world.electors] == [0, 0, 0]


def test_a_lease_that_was_never_there_is_taken_when_a_leader_would_have_made_it_its_own() -> None:
    world = World(1)
    took = world.until(lambda: bool(world.leaders), TAKEN_OVER)
    assert GIVE_UP < took < GIVE_UP + UNHELD_MARGIN + 1


def test_a_released_lease_is_taken_at_once() -> None:
    world = World(1)
    world.server.write({"metadata": {"name": "lease"}, "spec": {"holderIdentity": ""}})
    assert world.until(lambda: bool(world.leaders), TAKEN_OVER) < 0.5


@pytest.mark.parametrize("seed", range(20))
def test_who_is_killed_is_followed_when_its_lease_has_not_changed_for_its_duration(seed: int) -> None:
    world = World(2, seed)
    leader = world.led()
    world.pass_time(world.rng.uniform(0, 10))
    leader.crash()
    took = world.until(lambda: bool(world.leaders), TAKEN_OVER)
    assert took > DURATION - RENEW - 1.0
    assert world.leaders[0] is not leader


@pytest.mark.parametrize("seed", range(20))
def test_who_stops_is_followed_at_the_next_look(seed: int) -> None:
    world = World(2, seed)
    leader = world.led()
    world.pass_time(world.rng.uniform(0, 10))
    leader.stop()
    assert world.until(lambda: bool(world.leaders), TAKEN_OVER) < RENEW + 0.5


@pytest.mark.parametrize("seed", range(40))
def test_who_stops_while_it_begins_to_lead_leaves_no_lease_behind(seed: int) -> None:
    world = World(1, seed)
    world.server.write({"metadata": {"name": "lease"}, "spec": {"holderIdentity": ""}})
    (stopping,) = world.electors
    world.pass_time(world.rng.uniform(0, 0.06))
    stopping.stop()
    world.pass_time(RENEW)
    assert world.server.holder == ""


@pytest.mark.parametrize("seed", range(20))
def test_a_lease_deleted_by_hand_stops_nobody_and_makes_no_second_leader(seed: int) -> None:
    world = World(3, seed)
    leader = world.led()
    for _ in range(5):
        world.pass_time(world.rng.uniform(0, 10))
        world.server.delete()
        world.until(lambda: world.server.holder == leader.process.name, RENEW + 0.5)
        assert world.leaders == [leader]
    assert not leader.lost


def test_a_leader_killed_right_after_its_lease_was_deleted_is_followed() -> None:
    world = World(2)
    leader = world.led()
    world.server.delete()
    leader.crash()
    world.until(lambda: bool(world.leaders), TAKEN_OVER)


def test_what_others_write_to_the_lease_costs_nobody_the_lead() -> None:
    world = World(2)
    leader = world.led()
    for _ in range(20):
        world.pass_time(0.7)
        assert world.server.lease is not None
        world.server.write(world.server.lease)
    assert world.leaders == [leader]
    assert not leader.lost


def test_who_was_frozen_longer_than_it_may_knows_when_it_goes_on() -> None:
    world = World(2)
    frozen = world.led()
    world.loop.pause(frozen.process)
    world.until(lambda: bool(world.leaders), TAKEN_OVER)
    assert not frozen.election.leading(), "before it has run at all"
    world.loop.resume(frozen.process)
    world.until(lambda: frozen.lost == 1, 1.0)


def test_who_was_frozen_shortly_goes_on() -> None:
    world = World(2)
    frozen = world.led()
    world.loop.pause(frozen.process)
    world.pass_time(RENEW)
    world.loop.resume(frozen.process)
    world.pass_time(60)
    assert world.leaders == [frozen]


def test_without_the_api_server_nobody_leads_and_with_it_somebody_does() -> None:
    world = World(2)
    leader = world.led()
    world.server.away = True
    assert world.until(lambda: not world.leaders, GIVE_UP + 1) > GIVE_UP - RENEW - 1
    world.until(lambda: leader.lost == 1, 1.0)
    world.pass_time(60)
    world.server.away = False
    world.until(lambda: bool(world.leaders), RENEW + TAKEN_OVER)


def test_a_short_absence_of_the_api_server_is_no_loss() -> None:
    world = World(2)
    leader = world.led()
    for _ in range(10):
        world.server.away = True
        world.pass_time(RENEW - 0.5)
        world.server.away = False
        world.pass_time(2 * RENEW)
    assert world.leaders == [leader]
    assert not leader.lost


@pytest.mark.parametrize("seed", range(60))
def test_never_two_lead_whatever_happens(seed: int) -> None:
    world = World(3, seed)
    rng = world.rng
    for _ in range(30):
        world.pass_time(rng.expovariate(1 / 5))
        elector = rng.choice(world.electors)
        world.server.lossy = rng.choice([0.0, 0.0, 0.2, 0.6])
        world.server.away = rng.random() < 0.1
        match rng.randrange(5):
            case 0:
                elector.crash()
                elector.start()
            case 1 if not elector.process.paused:
                world.loop.pause(elector.process)
            case 2 if elector.process.paused:
                world.loop.resume(elector.process)
            case 3:
                world.server.delete()
            case _ if elector.election.leading() and not elector.process.paused:
                elector.stop()
                elector.start()
            case _:
                pass
    world.server.lossy, world.server.away = 0.0, False
    for elector in world.electors:
        world.loop.resume(elector.process)
    world.until(lambda: bool(world.leaders), 2 * TAKEN_OVER)


def test_the_numbers_have_to_leave_a_leader_time_to_know() -> None:
    with pytest.raises(ValueError, match="must be less than"):
        Election(
            LeaseClient(LeaseServer(random.Random(0))),
            "ns",
            "lease",
            "me",
            WrongClock(VirtualLoop(), random.Random(0)),
            give_up=10,
        )


def test_trust_counts_from_the_sending_of_a_renewal_and_not_from_its_answer() -> None:
    """A frozen process gets its answer late: by then another may have waited for the whole duration."""
    loop = VirtualLoop()
    rng = random.Random(1)
    server = LeaseServer(rng)
    election = Election(LeaseClient(server), "ns", "lease", "me", WrongClock(loop, rng))
    server.write({"metadata": {"name": "lease"}, "spec": {"holderIdentity": ""}})
    process = Process("me")

    async def lead() -> None:
        await election.acquire()
        await election.hold()

    task = loop.spawn(process, lead(), "me")
    assert loop.run_until(election.leading, 5)
    writes: list[int] = []
    sent: list[float] = []

    async def slowly() -> None:
        """The next renewal is there at once; its answer takes its time, and nothing is answered after it."""
        if server.away:
            raise KubeUnavailable("lost")
        if not writes or server.writes == writes[-1]:
            sent.append(loop.time())
            writes.append(server.writes)
        elif len(sent) > 1:
            await asyncio.sleep(0.9 * RENEW)
            server.away = True

    server.travel = slowly  # type: ignore[method-assign]
    assert loop.run_until(lambda: server.away, 10)
    answered = loop.time()
    assert answered - sent[-1] >= 0.9 * RENEW
    loop.run_until(lambda: not election.leading(), answered + 2 * GIVE_UP)
    assert loop.time() - sent[-1] <= 1.02 * GIVE_UP
    assert loop.run_until(task.done, answered + 3 * GIVE_UP)
    assert isinstance(task.exception(), LeaseLost)
    loop.dispose()
