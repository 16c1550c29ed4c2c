"""The promises, counted: pure functions over a ledger, the callbacks and what is known of a fault."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import Final

from faults.ledger import MINUTE, Callback, Entry, Kind, Ledger, Result
from faults.sequels import astray, too_soon

SHARDS: Final = 16
FIRES_AGAIN_WITHIN: Final = 3.0
"""Seconds after a fault's end, or after others took over."""

DECLARED_DEAD_AFTER: Final = 2.0
"""Seconds without a beat: the first moment at which others may take over."""

SETTLED_BY: Final = 0.3
"""Seconds after which what an executor had sent before it died, or was cut off, is committed or never is."""

PLANNED_WITHIN: Final = 1.0
"""Seconds that a planned stop may leave a shard silent."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Something else that a fault's end depends on: what happened after so many seconds, and how many are allowed."""

    what: str
    seconds: float
    within: float

    @property
    def missed(self) -> bool:
        """Whether it took longer than it may."""
        return self.seconds > self.within


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happened, as far as the checks need it.

    `in_flight` are the occurrences (`webhook-id`) that those executors had taken and not settled which died, stood still
    or were cut off; empty when none did. Each may be delivered once more. `taken_over` says that another executor should have gone on during the fault: then
    firing again counts from when it could. `within` are the seconds of silence that are allowed then. With `all_answered`
    every request of the client must be answered at its first try.
    """

    begun: float
    ended: float
    in_flight: frozenset[str] = frozenset()
    taken_over: bool = False
    within: float = FIRES_AGAIN_WITHIN
    all_answered: bool = False
    measured: tuple[Measured, ...] = ()

    @property
    def over(self) -> float:
        """From when all shards should fire again, soon."""
        return min(self.ended, self.begun + DECLARED_DEAD_AFTER) if self.taken_over else self.ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was found; each tuple names timers (by id, with what is wrong), and should be empty."""

    timers: int
    callbacks: int
    schedules: int
    """Occurrences of schedules that were owed."""
    uncertain: int
    """Creates and changes whose outcome the client never learnt."""
    lost: tuple[str, ...]
    early: tuple[str, ...]
    """Received before its time, or tried again sooner than a retry may."""
    astray: tuple[str, ...]
    """Delivered for a time that nobody asked for."""
    cancelled: tuple[str, ...]
    """Delivered after a cancel, or at the old time after a change, that was acknowledged."""
    duplicates: int
    in_flight: int
    unexcused: tuple[str, ...]
    """Duplicates of what was not in flight, or had been delivered once more already."""
    wrong: tuple[str, ...]
    gap: float
    """Seconds: the longest time any one shard was silent from the fault's begin on."""
    again: float
    """Seconds: the same, counted from `Fault.over`."""
    slowest: float
    """Seconds: the latest of all timers, each from when it was due, acknowledged, and the fault over."""
    late: tuple[str, ...]
    """Shards that were silent for longer than that."""
    slow: tuple[str, ...]
    """What else took longer than it may: timers later than a fault allows, and what was measured of it."""

    @property
    def complaints(self) -> tuple[str, ...]:
        """All that is wrong, in words."""
        named = {
            "lost": self.lost,
            "early": self.early,
            "another time": self.astray,
            "cancelled, delivered": self.cancelled,
            "duplicate": self.unexcused,
            "wrong answer": self.wrong,
            "silent": self.late,
            "slow": self.slow,
        }
        return tuple(f"{name}: {what}" for name, whats in named.items() for what in whats)


def judge(ledger: Ledger, callbacks: Sequence[Callback], fault: Fault, until: float) -> Verdict:
    """Counts all promises. `until` is when the load ended: schedules and shards owe nothing after it."""
    twice = duplicates(callbacks)
    unexcused = _unexcused(twice, fault.in_flight)
    late = list(lateness(ledger, callbacks, fault))
    silences = silent(callbacks, fault.over, until)
    return Verdict(
        timers=sum(entry.acknowledged is not None for entry in ledger.entries.values()),
        callbacks=len(callbacks),
        schedules=sum(1 for entry in ledger.entries.values() if _scheduled(entry) for _ in owed(entry, until)),
        uncertain=sum(map(_uncertain, ledger.entries.values())),
        lost=tuple(lost(ledger, callbacks, until)),
        early=(
            *(f"{one.id} by {one.due - one.at:.4f} s" for one in callbacks if one.at < one.due),
            *too_soon(callbacks),
        ),
        astray=tuple(astray(ledger, callbacks)),
        cancelled=tuple(cancelled_delivered(ledger, callbacks)),
        duplicates=len(twice),
        in_flight=len(fault.in_flight),
        unexcused=tuple(f"{one.id} at {one.at:.3f}" for one in unexcused),
        wrong=tuple(ledger.wrong),
        gap=max(silent(callbacks, fault.begun, until).values()),
        again=max(silences.values()),
        slowest=max((seconds for seconds, _ in late), default=0.0),
        late=tuple(f"shard {shard} for {lasted:.2f} s" for shard, lasted in silences.items() if lasted > fault.within),
        slow=(
            *(
                f"{what.what} after {what.seconds:.1f} s, not {what.within:g} s"
                for what in fault.measured
                if what.missed
            ),
            *(
                f"{one.id} by {seconds:.2f} s, {one.at - fault.begun:.2f} s after the fault began, attempt {one.attempt}"
                for seconds, one in late
                if seconds > FIRES_AGAIN_WITHIN
            ),
        ),
    )


def lost(ledger: Ledger, callbacks: Iterable[Callback], until: float) -> Iterator[str]:
    """Acknowledged timers that no callback answered with success delivered, with what was owed."""
    delivered: dict[str, set[float]] = {}
    ended: set[str] = set()
    for one in callbacks:
        if one.succeeded:
            delivered.setdefault(one.id, set()).add(one.due)
            if one.last:
                ended.add(one.id)
    for entry in ledger.entries.values():
        if entry.acknowledged is None:
            continue
        if entry.kind is Kind.CHAIN:
            if entry.id not in ended:
                yield f"{entry.id}, a chain that broke off"
            continue
        for dues in owed(entry, until):
            if not dues & delivered.get(entry.id, set()):
                yield f"{entry.id}, due at {' or '.join(f'{due:.6f}' for due in sorted(dues))}"


def owed(entry: Entry, until: float) -> Iterator[frozenset[float]]:
    """What an acknowledged timer must be delivered for: one of each set of times."""
    change = entry.change
    if entry.kind is Kind.SCHEDULE:
        first = ceil((entry.acknowledged or 0.0) / MINUTE)
        yield from (frozenset({minute * MINUTE}) for minute in range(first, ceil(until / MINUTE)))
    elif change is None or change.result is Result.REFUSED:
        yield frozenset({entry.due})
    elif change.due is not None:
        yield frozenset({change.due} if change.result is Result.DONE else {change.due, entry.due})


def cancelled_delivered(ledger: Ledger, callbacks: Iterable[Callback]) -> Iterator[str]:
    """Callbacks that came after the service had said that they would not."""
    for one in callbacks:
        entry = ledger.entries.get(one.id)
        change = None if entry is None else entry.change
        if change is None or change.result is not Result.DONE or one.at <= change.answered:
            continue
        if change.due is None or one.due != change.due:
            yield f"{one.id}, due at {one.due:.6f}, {one.at - change.answered:.4f} s after the answer"


def duplicates(callbacks: Iterable[Callback]) -> list[Callback]:
    """Callbacks of an occurrence whose last callback before had been answered with success."""
    seen: dict[str, Callback] = {}
    found = []
    for one in sorted(callbacks, key=lambda callback: callback.at):
        before = seen.get(one.occurrence)
        if before is not None and before.succeeded:
            found.append(one)
        seen[one.occurrence] = one
    return found


def _unexcused(twice: Iterable[Callback], in_flight: frozenset[str]) -> Iterator[Callback]:
    """The duplicates but one of each occurrence that was in flight: so no more are excused than there were."""
    left = set(in_flight)
    for one in twice:
        if one.occurrence in left:
            left.remove(one.occurrence)
        else:
            yield one


def silent(callbacks: Iterable[Callback], begin: float, until: float) -> Mapping[int, float]:
    """The longest time in seconds that each shard was silent between two instants, in which all have timers due."""
    times: dict[int, list[float]] = {shard: [begin, until] for shard in range(SHARDS)}
    for one in callbacks:
        if begin < one.at < until:
            times[shard_of(one.id)].append(one.at)
    return {shard: max(b - a for a, b in pairwise(sorted(ats))) for shard, ats in times.items()}


def lateness(ledger: Ledger, callbacks: Iterable[Callback], fault: Fault) -> Iterator[tuple[float, Callback]]:
    """The first callback of each of the client's timers, and how late in seconds it was.

    The time before it was acknowledged, and until `fault.over`, aside.
    """
    seen: set[tuple[str, float]] = set()
    for one in sorted(callbacks, key=lambda callback: callback.at):
        if one.id in ledger.entries and (one.id, one.due) not in seen:
            seen.add((one.id, one.due))
            yield one.at - max(one.due, fault.over, _known(ledger, one)), one


def shard_of(timer_id: str) -> int:
    """The shard of a timer in a group of 16."""
    return zlib.crc32(timer_id.encode()) % SHARDS


def _known(ledger: Ledger, callback: Callback) -> float:
    """When the client knew that a callback of a timer of its own was to be expected; 0 when it never did."""
    entry = ledger.entries[callback.id]
    changed = entry.change is not None and entry.change.due == callback.due
    return (entry.change.answered if entry.change and changed else entry.acknowledged) or 0.0


def _scheduled(entry: Entry) -> bool:
    return entry.kind is Kind.SCHEDULE and entry.acknowledged is not None


def _uncertain(entry: Entry) -> bool:
    return entry.acknowledged is None or (entry.change is not None and entry.change.result is Result.UNKNOWN)
