"""Where the store's now lies on this process's monotonic clock, known better than from the last answer alone."""

from __future__ import annotations

from datetime import datetime
from typing import Final

DRIFT: Final = 0.1
"""Seconds by which two clocks part in a second at most: more than a system's clock is slewed by (chrony: 0.083)."""

CORRECTION_MAX: Final = 0.05
"""Seconds by which an instant lies before the answer's arrival at most: of a clock that went back unnoticed, no more shows."""


class StoreTime:
    """Learns from calls that say the store's now: it was that at some instant between the asking and the answer.

    The store got there `received` at the latest, and a call that was answered fast says so more exactly than a slow one.
    So the bound of the fastest lately holds for those after it, less what the clocks may have parted since. It does not
    when it lies before a call was even asked: then the store's clock went back, and that call's own bound begins anew.
    """

    def __init__(self) -> None:
        self._offset = float("inf")
        self._learnt_at = 0.0

    def instant(self, now: datetime, asked: float, received: float) -> float:
        """The monotonic second by which the store's clock had reached `now`; from `asked` to `received`, never too early.

        `now` was said in an answer, asked for and received at these monotonic seconds. (A store's clock that goes back
        by less than the call took makes it too early by as much.)
        """
        said = now.timestamp()
        known = said + self._offset + (received - self._learnt_at) * DRIFT
        if asked <= known < received:
            return max(known, received - CORRECTION_MAX)
        self._offset, self._learnt_at = received - said, received
        return received

    def forget(self) -> None:
        """Begins anew: what answers next may be another server, with another clock."""
        self._offset = float("inf")
