"""The promises, in every weather; and that they would not hold of an engine with a bug."""

import os

import pytest

from tests.simulation.parallel import Told, play_seeds
from tests.simulation.planted import FOUND, WEATHER_FOR

SEEDS = 300
PROCESSES = min(4, os.cpu_count() or 1)


def test_the_promises_hold_in_every_weather(capsys: pytest.CaptureFixture[str]) -> None:
    failed: list[Told] = []
    for done, told in enumerate(play_seeds(range(SEEDS), weather=None, planted=None, processes=PROCESSES), start=1):
        if told.verdict.violations:
            failed.append(told)
        if done % 100 == 0:
            with capsys.disabled():
                print(f" {done} of {SEEDS} seeds", end="", flush=True)  # noqa: T201
    assert not failed, "\n\n".join(told.story for told in failed[:3])


@pytest.mark.parametrize("bug", sorted(FOUND))
def test_a_planted_bug_is_found_at_its_seed(bug: str) -> None:
    seed = FOUND[bug]
    (told,) = play_seeds(range(seed, seed + 1), weather=WEATHER_FOR[bug], planted=bug, processes=1)
    assert told.verdict.violations
