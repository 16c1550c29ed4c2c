"""Random weather in virtual time: in the calm after it, store and statuses say what was declared last."""

import random
from collections import Counter
from typing import Final

import pytest

from durable_timer.models.group import GroupState
from durable_timer.models.resource import FINALIZER
from tests.controller.world import World, key_of

SEEDS: Final = range(12)
STORM: Final = 240.0
CALM: Final = 120.0
NAMES: Final = ("orders", "mails", "bills", "tests")
SHARDS: Final = {"orders": 8, "mails": 4, "bills": 16, "tests": 1}


class Storm:
    """Things that happen, chosen by a seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.world = World()
        self.started = 0
        self.applied: dict[str, str] = {}

    def blow(self) -> None:
        self._start_executor()
        while self.world.loop.time() < STORM:
            happens = self.rng.choice((
                self._apply, self._apply, self._delete, self._start_executor, self._crash, self._drain, self._restart,
                self._take_store_away, self._wipe_status, self._freeze,
            ))  # fmt: skip
            happens()
            self.world.pass_time(self.rng.uniform(0.1, 12.0))
        self.world.away = False
        if not self._alive():
            self._start_executor()

    def _alive(self) -> list[str]:
        return [name for name, one in self.world.executors.items() if one.process.alive and not one.draining]

    def _apply(self) -> None:
        name = self.rng.choice(NAMES)
        policy = self.rng.choice(("Retain", "Delete"))
        known = self.world.api.objects.get(key_of(name))
        if known is None or not known.deleting:
            spec = {"shards": SHARDS[name], "deletionPolicy": policy, "paused": self.rng.random() < 0.2}
            self.world.api.apply(name, spec)
            self.applied[name] = policy

    def _delete(self) -> None:
        name = self.rng.choice(NAMES)
        known = self.world.api.objects.get(key_of(name))
        if known is not None and not known.deleting:
            self.world.api.delete(name)

    def _start_executor(self) -> None:
        if len(self._alive()) < 4:
            self.started += 1
            self.world.executor(f"e{self.started}")

    def _crash(self) -> None:
        if alive := self._alive():
            self.world.executors[self.rng.choice(alive)].crash()

    def _drain(self) -> None:
        if alive := self._alive():
            self.world.executors[self.rng.choice(alive)].draining = True

    def _restart(self) -> None:
        self.world.restart()

    def _freeze(self) -> None:
        """The leader stands still, another takes over, and the old one wakes up for a moment."""
        old = self.world.process
        self.world.loop.pause(old)
        self.world.start_another()
        self.world.pass_time(self.rng.uniform(1.0, 30.0))
        self.world.loop.resume(old)
        self.world.pass_time(self.rng.uniform(0.0, 1.0))
        self.world.loop.crash(old)

    def _take_store_away(self) -> None:
        self.world.away = True
        self.world.pass_time(self.rng.uniform(0.5, 20.0))
        self.world.away = False

    def _wipe_status(self) -> None:
        name = self.rng.choice(NAMES)
        if key_of(name) in self.world.api.objects:
            self.world.api.set_status(name, {})


@pytest.mark.parametrize("seed", SEEDS)
def test_in_the_calm_after_it_all_is_as_declared(seed: int) -> None:
    storm = Storm(seed)
    world = storm.world
    storm.blow()
    world.pass_time(CALM)
    there = {key.name for key in world.api.objects}
    for name in there:
        assert (name, world.reason(name)) == (name, "Ready")
        assert world.group(name).state is GroupState.ACTIVE
        wanted = storm.applied[name] == "Delete"
        assert (FINALIZER in world.api.objects[key_of(name)].finalizers) is wanted
    for name in world.database.groups.keys() - there:
        assert world.group(name).state is GroupState.DELETED
    owners = Counter(owner for key, owner in world.owners().items() if key.group_id in there)
    assert owners.keys() <= set(storm._alive())
    assert not owners or max(owners.values()) - min(owners.values()) <= 1 or len(owners) < len(storm._alive())
    writes = dict(world.api.writes)
    world.pass_time(CALM)
    assert dict(world.api.writes) == writes
    assert not world.loop.errors
    world.loop.dispose()
