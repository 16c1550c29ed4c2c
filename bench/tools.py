"""wrk and oha, where installed: load generators that take less of the machine than one in Python."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import orjson

from bench.load import Load
from bench.timers import FAR, PAYLOAD

_SCRIPT: Final = Path(__file__).with_name("creates.lua")
_UNITS: Final = {"us": 0.001, "ms": 1.0, "s": 1000.0, "sec": 1000.0, "secs": 1000.0}


def installed() -> str | None:
    """The name of the first that is there."""
    return next((name for name in ("wrk", "oha") if shutil.which(name)), None)


def creates(tool: str, bridge: str, target: str, group: str, *, connections: int, seconds: float) -> Load:
    """Creates single timers of the far future for that long, as fast as they are answered.

    Raises:
        RuntimeError: the tool failed, or its output is not understood.
    """
    url = f"{bridge}/api/v1/groups/{group}/timers"
    body = orjson.dumps({"executeAt": FAR, "callbackUrl": f"{target}/cb", "payload": PAYLOAD}).decode()
    lasting = f"{max(1, round(seconds))}s"
    if tool == "wrk":
        command = ["wrk", "-t1", f"-c{connections}", f"-d{lasting}", "-s", str(_SCRIPT), "--latency", url, "--", body]
    else:
        kind = ["-m", "POST", "-T", "application/json", "-d", body]
        command = ["oha", "--no-tui", "-c", str(connections), "-z", lasting, *kind, url]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{tool} failed: {done.stderr[-1000:]}")
    return understood(done.stdout)


def understood(output: str) -> Load:
    """What wrk or oha printed.

    Raises:
        RuntimeError: a figure is missing.
    """
    rate = re.search(r"Requests/sec:\s*([\d.]+)", output)
    p50, p99 = _latency(output, 50), _latency(output, 99)
    if rate is None or p50 is None or p99 is None:
        raise RuntimeError(f"figures are missing:\n{output[-2000:]}")
    return Load(_requests(output), float(rate[1]), p50, p99, _refused(output))


def _latency(output: str, percent: int) -> float | None:
    found = re.search(rf"\b{percent}(?:\.0+)?% +(?:in )?([\d.]+) ?(us|ms|secs?|s)\b", output)
    return round(float(found[1]) * _UNITS[found[2]], 2) if found else None


def _requests(output: str) -> int:
    if found := re.search(r"(\d+) requests in", output):
        return int(found[1])
    return sum(int(count) for count in re.findall(r"\[\d{3}\] (\d+) responses", output))


def _refused(output: str) -> int:
    if found := re.search(r"Non-2xx or 3xx responses: (\d+)", output):
        return int(found[1])
    return sum(int(count) for status, count in re.findall(r"\[(\d{3})\] (\d+) responses", output) if status[0] != "2")
