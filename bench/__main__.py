"""`make bench`: measures creates, a burst and a steady load, prints the figures and saves them as JSON.

Usage: python -m bench [--store postgresql|sqlite] [--only NAME] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import orjson
import uvloop

from bench import load
from bench.services import GROUP, Bench, get, running, stats

SINGLES = 40_000
BATCHES = 100
BURST = 20_000
STEADY_RATE = 1_000
STEADY_SECONDS = 20
CONNECTIONS = 48
BATCH = 500

Figures = dict[str, object]


def singles(bench: Bench) -> Figures:
    """Single creates over REST, far in the future."""
    return _sent(bench, [_single(f"{_prefix()}-{i}", "2099-01-01T00:00:00Z", bench.sink) for i in range(SINGLES)], 1)


def batches(bench: Bench) -> Figures:
    """Creates by `:batch`, 500 each, far in the future."""
    at = datetime(2099, 1, 1, tzinfo=UTC)
    requests = [_batch([(f"{_prefix()}-{i}", at) for i in range(BATCH)], bench.sink) for _ in range(BATCHES)]
    return _sent(bench, requests, BATCH, connections=4)


def burst(bench: Bench) -> Figures:
    """Timers due at one instant."""
    due = datetime.now(UTC) + timedelta(seconds=8)
    return _fired(bench, [due] * BURST)


def steady(bench: Bench) -> Figures:
    """One timer each millisecond."""
    start = datetime.now(UTC) + timedelta(seconds=8)
    step = timedelta(seconds=1) / STEADY_RATE
    return _fired(bench, [start + i * step for i in range(STEADY_RATE * STEADY_SECONDS)])


MEASURES: dict[str, Callable[[Bench], Figures]] = {
    "creates_single": singles,
    "creates_batch": batches,
    "burst": burst,
    "steady": steady,
}


def _sent(bench: Bench, requests: list[bytes], timers: int, connections: int = CONNECTIONS) -> Figures:
    parts = urlsplit(bench.bridge)
    before = bench.cpu_seconds()
    done = uvloop.run(load.run(parts.hostname or "", parts.port or 0, requests, connections))
    count = len(requests) * timers
    figures = {"creates_per_second": round(done.per_second * timers), **asdict(done)}
    return figures | _cost(bench, before, count)


def _fired(bench: Bench, dues: list[datetime]) -> Figures:
    get(f"{bench.sink}/reset")
    prefix = _prefix()
    parts = urlsplit(bench.bridge)
    items = [(f"{prefix}-{i}", due) for i, due in enumerate(dues)]
    requests = [_batch(items[i : i + BATCH], bench.sink) for i in range(0, len(items), BATCH)]
    created = uvloop.run(load.run(parts.hostname or "", parts.port or 0, requests, 2))
    if created.refused:
        raise RuntimeError(f"{created.refused} batches were refused")
    if datetime.now(UTC) > dues[0]:
        raise RuntimeError("creating took longer than the time until the first was due")
    before = bench.cpu_seconds()
    time.sleep(max(0.0, (dues[-1] - datetime.now(UTC)).total_seconds()))
    return _until_all(bench, len(dues)) | _cost(bench, before, len(dues))


def _until_all(bench: Bench, count: int) -> Figures:
    deadline = time.monotonic() + 60
    time.sleep(1)
    seen = stats(bench.sink)
    while seen["callbacks"] != count and time.monotonic() < deadline:
        time.sleep(1)
        seen = stats(bench.sink)
    return {"expected": count, **seen}


def _cost(bench: Bench, before: dict[str, float], count: int) -> Figures:
    used = {name: (cpu - before[name]) / count * 1000 for name, cpu in bench.cpu_seconds().items()}
    return {
        "cpu_ms_per_timer": {name: round(seconds, 4) for name, seconds in used.items()},
        "memory_mib": bench.memory_mib(),
    }


def _timer(timer_id: str, execute_at: str, sink: str) -> dict[str, object]:
    return {"id": timer_id, "executeAt": execute_at, "callbackUrl": f"{sink}/cb", "payload": {"hello": "world"}}


def _single(timer_id: str, execute_at: str, sink: str) -> bytes:
    return load.request("POST", f"/api/v1/groups/{GROUP}/timers", orjson.dumps(_timer(timer_id, execute_at, sink)))


def _batch(items: list[tuple[str, datetime]], sink: str) -> bytes:
    timers = [_timer(timer_id, due.isoformat(), sink) for timer_id, due in items]
    return load.request("POST", f"/api/v1/groups/{GROUP}/timers:batch", orjson.dumps({"timers": timers}))


def _prefix() -> str:
    return uuid.uuid4().hex[:12]


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--store", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument("--only", choices=MEASURES, action="append", help="measure this alone (repeatable)")
    parser.add_argument("--out", type=Path, default=Path("bench/results.json"))
    arguments = parser.parse_args()
    results: dict[str, Figures] = {}
    with running(arguments.store) as bench:
        for name in arguments.only or MEASURES:
            print(f"{name}: {(MEASURES[name].__doc__ or '').strip()}", flush=True)
            results[name] = MEASURES[name](bench)
            print(json.dumps(results[name], indent=2), flush=True)
    arguments.out.write_text(json.dumps({"store": arguments.store, **results}, indent=2) + "\n")
    print(f"saved as {arguments.out}")


if __name__ == "__main__":
    main()
