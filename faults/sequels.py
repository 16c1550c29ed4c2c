"""What follows a callback: the next attempt after a refusal, the time that an answer named, the next full minute."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from faults.ledger import MINUTE, Callback, Kind, Ledger

RETRIED_AFTER: Final = 0.1
"""Seconds: the least delay of a retry (`docs/limits.md`). The back-off has full jitter, so no more can be asked."""

LEAST_LEAD: Final = 1.0
"""Seconds: a time that an answer names sooner than this after it was read counts as this (`docs/semantics.md`)."""

READ_WITHIN: Final = 1.0
"""Seconds that an executor may take to read an answer."""

FIRST: Final = 1
"""The number of a timer's first occurrence, which is what its `webhook-id` ends with."""


def too_soon(callbacks: Sequence[Callback]) -> Iterator[str]:
    """Attempts that came sooner after the one before than a retry may.

    Counted from the first time that one came: a callback that is delivered twice (`checks.duplicates`) may be followed
    by the retry of either.
    """
    came: dict[tuple[str, int], float] = {}
    for one in callbacks:
        key = one.occurrence, one.attempt
        came[key] = min(one.at, came.get(key, one.at))
    for (occurrence, attempt), at in came.items():
        before = came.get((occurrence, attempt - 1))
        if before is not None and at < before + RETRIED_AFTER:
            yield f"attempt {attempt} of {occurrence}, {at - before:.4f} s after the one before"


def astray(ledger: Ledger, callbacks: Sequence[Callback]) -> Iterator[str]:
    """Callbacks for a time that nobody asked for: of a chain another than the answer before named, of a schedule no minute.

    A chain's time may be later than named only where that was sooner than the service takes one; its first is that of
    the create. An occurrence whose predecessor never came is astray, too.
    """
    before: dict[tuple[str, int], list[Callback]] = {}
    for one in callbacks:
        if one.asked is not None:
            before.setdefault(_numbered(one), []).append(one)
    for one in callbacks:
        entry = ledger.entries.get(one.id)
        if entry is None or entry.kind not in {Kind.CHAIN, Kind.SCHEDULE}:
            continue
        uid, number = _numbered(one)
        if entry.kind is Kind.SCHEDULE:
            good = one.due % MINUTE == 0
        elif number == FIRST:
            good = one.due == entry.due
        else:
            good = any(_asked_for(one.due, answered) for answered in before.get((uid, number - 1), ()))
        if not good:
            asked = " or ".join(f"{answered.asked:.6f}" for answered in before.get((uid, number - 1), ()))
            yield f"{one.id}, occurrence {number}, due at {one.due:.6f}, asked for {asked or 'by none'}"


def _asked_for(due: float, answered: Callback) -> bool:
    """Whether the answer to that callback may have made another one due then."""
    asked = answered.asked
    return asked is not None and (due == asked or asked < due <= answered.at + LEAST_LEAD + READ_WITHIN)


def _numbered(one: Callback) -> tuple[str, int]:
    """The timer that an occurrence is of, and its number."""
    uid, _, number = one.occurrence.rpartition(".")
    return uid, int(number)
