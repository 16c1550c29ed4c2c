"""The promises, in every weather; and that they would not hold of an engine with a bug."""

import os

import pytest

from tests.simulation.parallel import Told, play_seeds
from tests.simulation.planted import FOUND, WEATHER_FOR

SEEDS = 300
SEARCHED = 120
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


@pytest.mark.parametrize("bug", sorted(WEATHER_FOR))
def test_a_planted_bug_is_found(bug: str) -> None:
    """Seeds that find a bug move with each change of the engine, so they are looked for, from the one that found it last."""
    first = FOUND[bug]
    seeds = [first, *(seed for seed in range(SEARCHED) if seed != first)]
    assert any(_finds(bug, seed) for seed in seeds)


def _finds(bug: str, seed: int) -> bool:
    (told,) = play_seeds(range(seed, seed + 1), weather=WEATHER_FOR[bug], planted=bug, processes=1)
    return bool(told.verdict.violations)
