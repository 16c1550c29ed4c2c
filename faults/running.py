"""All faults of one kind in turn, each told about, kept and judged."""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar

from faults.disk import NotHere
from faults.report import Results, figures, line
from faults.scene import Played, Say

SHOWN: Final = 20
"""Complaints of one fault that are printed."""

LONGEST: Final = 200
FOLDERS: Final = re.compile(r"(?<![\w:/])/(?:[^\s/'\"]+/)+")


class Named(Protocol):
    """What is known of a fault before it happens."""

    @property
    def name(self) -> str: ...

    @property
    def about(self) -> str: ...


N = TypeVar("N", bound=Named)


def run_all(scenarios: Sequence[N], run: Callable[[N, Say], Played], results: Results) -> bool:
    """Each fault in turn; one that cannot be run does not keep the others from it. False when anything was wrong."""
    good = True
    for place, one in enumerate(scenarios, 1):
        print(f"\n[{place}/{len(scenarios)}] {one.name}: {one.about}", flush=True)
        try:
            played = run(one, _say(time.monotonic()))
        except NotHere as missing:
            print(f"  skipped: {missing}")
            results.skipped(one.name, one.about, str(missing))
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the others are wanted
            good = False
            traceback.print_exc()
            results.failed(one.name, one.about, in_short(error))
        else:
            good = good and not played.verdict.complaints
            results.add(one.name, one.about, played)
            print(f"  {line(figures(played))}")
            for what in played.fault.measured:
                print(f"  {what.what} after {what.seconds:.1f} s")
            for complaint in played.verdict.complaints[:SHOWN]:
                print(f"  !! {complaint}")
        results.write()
    return good


def in_short(error: Exception) -> str:
    """The kind of an error and the first line of what it says, without the folders of this machine."""
    said = str(error).partition("\n")[0][:LONGEST]
    return f"{type(error).__name__}: {FOLDERS.sub('', said)}".rstrip(": ")


def _say(begun: float) -> Say:
    def say(what: str) -> None:
        print(f"  {time.monotonic() - begun:5.1f} s  {what}", flush=True)

    return say
