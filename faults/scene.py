"""One fault from begin to end: calm, the fault, calm again, and the count."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from faults.checks import Fault, Verdict, judge, lost
from faults.clients import Client
from faults.ledger import MINUTE, Callback, Ledger
from faults.receiving import Receiver

Say = Callable[[str], None]
ALL_OUT_WITHIN: Final = 60.0
"""Seconds that the last callbacks may take, once the load has ended, before what is missing counts as lost."""

POLL: Final = 0.25


class Stage(Protocol):
    """The place where a fault happens, wherever its processes run."""

    @property
    def receiver(self) -> Receiver: ...

    def client(self, scale: float, slow: float) -> Client:
        """A new client, at a share of 500 timers a second; so many a second go to the slow target."""


S = TypeVar("S", bound=Stage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long and how much: seconds before and after a fault, and the share of 500 timers a second.

    With `on_the_minute` the calm before lasts until a full minute, at which schedules are due, will come during the fault
    or soon after.
    """

    calm: float = 8.0
    after: float = 12.0
    scale: float = 1.0
    on_the_minute: bool = True


@dataclass(frozen=True, slots=True)
class Played:
    """What was recorded of a fault."""

    fault: Fault
    ledger: Ledger
    callbacks: list[Callback]
    verdict: Verdict
    tried_again: int


def play(
    stage: S,
    act: Callable[[S], Fault],
    pace: Pace,
    say: Say,
    *,
    lasts: float,
    slow: float = 0.0,
) -> Played:
    """Runs the load, lets the fault happen in its midst, waits for what is owed, and judges.

    `lasts` is about how long the fault takes in seconds, `slow` how many timers a second go to the slow target.

    Raises:
        RuntimeError: no schedule was due, although one should have been.
    """
    client = stage.client(pace.scale, slow)
    calm = _until_minute(pace) if pace.on_the_minute else pace.calm
    at = time.monotonic() + calm
    client.begin(calm + lasts + pace.after)
    client.run()
    say(f"calm for {calm:.0f} s")
    time.sleep(max(0.0, at - time.monotonic()))
    say("the fault")
    fault = act(stage)
    say(f"over after {fault.ended - fault.begun:.1f} s, {len(fault.in_flight)} in flight")
    time.sleep(pace.after)
    until = time.time()
    account = client.stop()
    ledger = account.ledger
    repeated = sum(account.unanswered.values())
    if fault.all_answered and repeated:
        ledger.wrong.append(f"{repeated} requests were not answered at first: {dict(account.unanswered)}")
    stage.receiver.end()
    callbacks = _all(stage.receiver, ledger, until)
    client.end()
    verdict = judge(ledger, callbacks, fault, until)
    if pace.on_the_minute and not verdict.schedules:
        raise RuntimeError("no schedule was due")
    return Played(fault, ledger, callbacks, verdict, repeated)


def _until_minute(pace: Pace) -> float:
    """Seconds of calm, so that a full minute comes soon after the fault's begin, however short it turns out."""
    to_minute = -(time.time() + pace.calm) % MINUTE
    return pace.calm + max(0.0, to_minute - pace.after / 2)


def _all(receiver: Receiver, ledger: Ledger, until: float) -> list[Callback]:
    """All callbacks, once nothing is owed any more, or long after the last one came."""
    callbacks: list[Callback] = []
    deadline = time.monotonic() + ALL_OUT_WITHIN
    while time.monotonic() < deadline:
        callbacks += receiver.callbacks(len(callbacks))
        if next(lost(ledger, callbacks, until), None) is None:
            break
        time.sleep(POLL)
    time.sleep(1.0)
    return callbacks + receiver.callbacks(len(callbacks))
