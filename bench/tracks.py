"""What a receiver keeps of each callback, in a few bytes: ten minutes at full speed must fit, and cost it next to nothing.

A timer's id is `<track>-<number>`, the numbers of a track from 0.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from datetime import datetime
from itertools import pairwise
from math import inf

Figures = dict[str, float | int]
PERCENTILES = (50, 90, 99, 99.9)


class Track:
    """The callbacks of one kind: when each arrived (seconds since 1970), how late (ms), and its number."""

    __slots__ = ("_arrived", "_late", "_number", "_seen", "duplicates")

    def __init__(self) -> None:
        self._arrived = array("d")
        self._late = array("d")
        self._number = array("L")
        self._seen = bytearray()
        self.duplicates = 0

    def __len__(self) -> int:
        return len(self._arrived)

    def add(self, at: float, due: float, number: int) -> None:
        self._arrived.append(at)
        self._late.append((at - due) * 1000)
        self._number.append(number)
        if number >= len(self._seen):
            self._seen.extend(bytes(max(number + 1, 2 * len(self._seen)) - len(self._seen)))
        self.duplicates += self._seen[number]
        self._seen[number] = 1

    def arrivals(self, begin: float = 0.0, end: float = inf) -> list[tuple[float, int]]:
        """When each arrived and its number, in the order of arrival: those from `begin` to before `end`."""
        low, high = bisect_left(self._arrived, begin), bisect_left(self._arrived, end)
        return list(zip(self._arrived[low:high], self._number[low:high], strict=True))

    def repeats(self) -> list[tuple[float, int]]:
        """The same of those whose number had arrived before."""
        seen = bytearray(len(self._seen))
        found = []
        for at, number in zip(self._arrived, self._number, strict=True):
            if seen[number]:
                found.append((at, number))
            seen[number] = 1
        return found

    def summary(self) -> Figures:
        """Counts, callbacks a second from when the first was due to the last, lateness in ms, the longest gap in s."""
        count = len(self)
        if not count:
            return {"callbacks": 0}
        late = sorted(self._late)
        first_due = min(at - ms / 1000 for at, ms in zip(self._arrived, self._late, strict=True))
        figures: Figures = {
            "callbacks": count,
            "duplicates": self.duplicates,
            "early": sum(ms < 0 for ms in late),
            "per_second": round(count / max(1e-9, max(self._arrived) - first_due), 1),
        }
        figures |= {f"late_p{percent:g}_ms": round(_rank(late, percent), 2) for percent in PERCENTILES}
        gap = max((b - a for a, b in pairwise(self._arrived)), default=0.0)
        return figures | {"late_max_ms": round(late[-1], 2), "longest_gap_s": round(gap, 3)}

    def series(self, step: float) -> list[tuple[float, int, float, float]]:
        """By spans of `step` seconds: begin (seconds since 1970), callbacks, p50 and p99 of their lateness in ms."""
        spans: dict[int, list[float]] = {}
        for at, late in zip(self._arrived, self._late, strict=True):
            spans.setdefault(int(at / step), []).append(late)
        found = []
        for span in range(min(spans, default=0), max(spans, default=-1) + 1):
            late_ms = sorted(spans.get(span, ()))
            p50, p99 = (_rank(late_ms, 50), _rank(late_ms, 99)) if late_ms else (0.0, 0.0)
            found.append((round(span * step, 3), len(late_ms), round(p50, 2), round(p99, 2)))
        return found


class Tracks:
    """All that has arrived, by track."""

    def __init__(self) -> None:
        self._tracks: dict[str, Track] = {}

    def add(self, at: float, body: bytes) -> None:
        """Notes a callback of the format `Standard`, without reading all of its JSON."""
        timer_id = _text(body, b'"timerId":"')
        due = datetime.fromisoformat(_text(body, b'"executeAt":"')).timestamp()
        name, _, number = timer_id.rpartition("-")
        track = self._tracks.get(name)
        if track is None:
            track = self._tracks[name] = Track()
        track.add(at, due, int(number))

    def get(self, name: str) -> Track:
        """The track of that name, an empty one when nothing of it has arrived."""
        return self._tracks.get(name) or Track()

    def clear(self) -> None:
        self._tracks.clear()


def _text(body: bytes, before: bytes) -> str:
    start = body.index(before) + len(before)
    return body[start : body.index(b'"', start)].decode()


def _rank(ranked: list[float], percent: float) -> float:
    return ranked[min(len(ranked) - 1, int(len(ranked) * percent / 100))]
