"""Plays seeds of the simulation, and shows what broke a promise.

`make simulate SEEDS=5000` plays seeds 0 to 4999; `python -m tests.simulation --seed 17` replays one.
"""

# ruff: noqa: T201
import argparse
import contextlib
import os
import sys
import time

from tests.simulation.parallel import Told, fixed_environment, play_seeds
from tests.simulation.planted import PLANTED
from tests.simulation.runner import explain, play, prepare_process
from tests.simulation.scenario import scenario_of
from tests.simulation.weather import WEATHERS, weather_of


def main() -> int:
    arguments = _arguments()
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]], fixed_environment())  # noqa: S606
    if arguments.seed is not None:
        return _replay(arguments)
    seeds = _range(arguments.seeds)
    if arguments.survey:
        return _survey(seeds, arguments)
    if arguments.worker:
        return _work(seeds, arguments)
    return _simulate(seeds, arguments)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", default="300", help="how many seeds, or START:STOP")
    parser.add_argument("--seed", type=int, help="replay this one seed, and show its whole trace")
    parser.add_argument("--weather", choices=WEATHERS, help="one weather for all seeds; each in its turn by default")
    parser.add_argument("--planted", choices=PLANTED, help="plant a bug, to see it found")
    parser.add_argument("--survey", action="store_true", help="tell for each planted bug which of the seeds find it")
    parser.add_argument("--grep", default="", help="of a replayed trace, only the lines with this in them")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="how many seeds at once")
    parser.add_argument("--until-found", action="store_true", help="stop at the first violation")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _range(text: str) -> range:
    parts = [int(part) for part in text.split(":")]
    return range(parts[0]) if len(parts) == 1 else range(*parts)


def _play(seed: int, arguments: argparse.Namespace) -> tuple[Told, str]:
    weather = WEATHERS[arguments.weather] if arguments.weather else weather_of(seed)
    planted = PLANTED[arguments.planted].bug() if arguments.planted else contextlib.nullcontext()
    verdict, history = play(scenario_of(seed, weather), planted)
    story = explain(verdict, history) if verdict.violations else ""
    return Told(verdict, story), history.text(arguments.grep)


def _replay(arguments: argparse.Namespace) -> int:
    prepare_process()
    told, trace = _play(arguments.seed, arguments)
    print(trace)
    print(told.story or f"seed {arguments.seed}: all promises kept, trace {told.verdict.digest}")
    return 1 if told.verdict.violations else 0


def _work(seeds: range, arguments: argparse.Namespace) -> int:
    prepare_process()
    for seed in seeds:
        told, _ = _play(seed, arguments)
        print(told.to_line(), flush=True)
    sys.stdout.flush()
    os._exit(0)  # what crashed processes left behind is not unwound


def _simulate(seeds: range, arguments: argparse.Namespace) -> int:
    began = time.monotonic()
    failed: list[Told] = []
    sends = 0
    results = play_seeds(seeds, weather=arguments.weather, planted=arguments.planted, processes=arguments.processes)
    for done, told in enumerate(results, start=1):
        sends += told.verdict.sends
        if told.verdict.violations:
            failed.append(told)
            print(f"\n{told.story}\nreplay: {_replay_command(told, arguments)}\n", flush=True)
            if arguments.until_found:
                break
        if done % 50 == 0 or done == len(seeds):
            spent = time.monotonic() - began
            print(f"{done} of {len(seeds)} seeds, {sends} callbacks, {len(failed)} failed, {spent:.1f} s", flush=True)
    if failed:
        print("failed:", *sorted(f"{told.verdict.seed}/{told.verdict.weather}" for told in failed))
    return 1 if failed else 0


def _survey(seeds: range, arguments: argparse.Namespace) -> int:
    """Prints the table of `docs/simulation.md`; the exit code is the number of bugs that no seed found.

    A seed finds a bug if it breaks what the bug has to break, and nothing where it is played without the bug.
    """
    missed = 0
    clean: dict[str, set[int]] = {}
    print("| planted bug | weather | what it breaks | seeds that find it | the first one | what else it broke there |")
    print("|---|---|---|---|---|---|")
    for name in [arguments.planted] if arguments.planted else PLANTED:
        plant = PLANTED[name]
        weather = arguments.weather or plant.weather
        if weather not in clean:
            unplanted = play_seeds(seeds, weather=weather, planted=None, processes=arguments.processes)
            clean[weather] = {told.verdict.seed for told in unplanted if not told.verdict.violations}
        results = [
            told.verdict for told in play_seeds(seeds, weather=weather, planted=name, processes=arguments.processes)
        ]
        found = {
            verdict.seed: verdict for verdict in results if verdict.seed in clean[weather] and plant.is_found(verdict)
        }
        missed += not found
        others = sorted({kind for verdict in found.values() for kind in verdict.kinds} - {plant.breaks, "unsettled"})
        print(
            f"| `{name}` | {weather} | {plant.breaks} | {len(found)} of {len(seeds)} | {min(found, default='none')} "
            f"| {', '.join(others)} |",
            flush=True,
        )
    return missed


def _replay_command(told: Told, arguments: argparse.Namespace) -> str:
    planted = f" --planted {arguments.planted}" if arguments.planted else ""
    return f"python -m tests.simulation --seed {told.verdict.seed} --weather {told.verdict.weather}{planted}"


if __name__ == "__main__":
    sys.exit(main())
