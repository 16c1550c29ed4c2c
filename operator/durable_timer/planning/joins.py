"""Which members a plan counts on: deaths and departures act at once, joins after a while without another."""

from __future__ import annotations

from collections.abc import Iterable

from durable_timer.models.ownership import Member


class Joins:
    """Remembers whom the last plan counted on. All times are seconds of one monotonic clock."""

    def __init__(self, quiet: float) -> None:
        self._quiet = quiet
        self._living: frozenset[str] = frozenset()
        self._changed_at = float("-inf")
        self._counted: frozenset[str] | None = None

    def counted(self, members: Iterable[Member], now: float) -> frozenset[str]:
        """The incarnations to plan for, out of the members as read `now`.

        A member that dies, drains or leaves has the plan made anew at once, for all that live then, newcomers too: what
        moves, moves once. Newcomers alone wait until `quiet` seconds have brought no other change, so that a rolling
        update or a scale-up does not move shards with each pod. The first plan counts on all that live.
        """
        living = frozenset(member.incarnation for member in members if not (member.dead or member.draining))
        if living != self._living:
            self._living, self._changed_at = living, now
        if self._counted is None or not self._counted <= living or now >= self._changed_at + self._quiet:
            self._counted = living
        return self._counted

    def waits_until(self) -> float | None:
        """When newcomers will count if nothing else changes; None when none waits."""
        return None if self._counted == self._living else self._changed_at + self._quiet
