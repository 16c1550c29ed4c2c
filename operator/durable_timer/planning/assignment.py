"""Who should own which shard: a pure function of what the store says, the same in every process.

Balance comes first, over all groups of the pool together: each member gets the floor of shards ÷ members, or one more.
Who gets the one more is settled in a fixed order (by incarnation) among those who have that many already, then among
the others: so the answer stays the same while shards are on their way, and nobody gives up what it may keep.

Movement comes second. A shard stays with its holder unless the holder has more than its number. Hence a member that
joins receives its number and nothing else moves; the shards of one that went are spread over the others.

Evenness within each group comes third, and decides which shards move and where to: first each shard without a holder
goes to the member that has the fewest of its group (of these, the one furthest below its number); then members above
their number give to members below, beginning where that evens a group out most. So a group's shards lie evenly where
balance and movement leave the choice. They are never moved for evenness alone: from an even state one join or departure
leaves nobody with more than one above the ceiling of the group's part, a long history may leave somebody with a few.

A pinned shard (one whose assigned member lives) does not move, whatever the balance; the others are spread around it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from durable_timer.models.ownership import Member, Shard, ShardKey


def plan(members: Sequence[Member], shards: Sequence[Shard]) -> dict[ShardKey, str | None]:
    """Who should own each shard: its living assignee, else whom the planner gives it to, by current owners.

    `members` may include dead and draining ones, they get nothing. `shards` are all those of the pool that are to be
    owned. The values are incarnations; all None when no member lives.
    """
    return _planned(members, shards, pinned=True)


def rebalance(members: Sequence[Member], shards: Sequence[Shard]) -> dict[ShardKey, str | None]:
    """What a planner with a term should assign: as `plan`, but living assignees above their number give shards up."""
    return _planned(members, shards, pinned=False)


def _planned(members: Sequence[Member], shards: Sequence[Shard], *, pinned: bool) -> dict[ShardKey, str | None]:
    living = sorted({member.incarnation for member in members if not (member.dead or member.draining)})
    if not living:
        return {shard.key: None for shard in shards}
    spread = _Spread(living)
    for shard in sorted(shards, key=lambda shard: (shard.group_id, shard.shard)):
        spread.add(shard, pinned=pinned)
    spread.set_numbers()
    spread.place()
    spread.level()
    return spread.owners


@dataclass(slots=True)
class _Holdings:
    """A group's shards: how many each member has (by its index), and which of them may move."""

    counts: list[int]
    movable: list[list[ShardKey]]
    free: list[ShardKey] = field(default_factory=list)


class _Spread:
    """The state of one planning. Members are indices into `living`; `surplus` is what each has above its number."""

    def __init__(self, living: list[str]) -> None:
        self.owners: dict[ShardKey, str | None] = {}
        self._living = living
        self._index = {incarnation: index for index, incarnation in enumerate(living)}
        self._groups: dict[str, _Holdings] = {}
        self._pinned = [0] * len(living)
        self._held = [0] * len(living)
        self._surplus: list[int] = []

    def add(self, shard: Shard, *, pinned: bool) -> None:
        key = shard.key
        group = self._groups.get(key.group_id)
        if group is None:
            group = self._groups[key.group_id] = _Holdings([0] * len(self._living), [[] for _ in self._living])
        assignee = None if shard.assigned_to is None else self._index.get(shard.assigned_to)
        holder = assignee
        if holder is None and shard.owner is not None:
            holder = self._index.get(shard.owner)
        if holder is None:
            self.owners[key] = None
            group.free.append(key)
            return
        self.owners[key] = self._living[holder]
        group.counts[holder] += 1
        self._held[holder] += 1
        if pinned and assignee is not None:
            self._pinned[holder] += 1
        else:
            group.movable[holder].append(key)

    def set_numbers(self) -> None:
        """Gives each member its number: what is pinned to it, else its even part of what the others leave."""
        numbers = list(self._pinned)
        even = list(range(len(self._living)))
        total = len(self.owners)
        while True:
            least, extra = divmod(total, len(even))
            above = [member for member in even if self._pinned[member] > least]
            if not above:
                break
            total -= sum(self._pinned[member] for member in above)
            even = [member for member in even if self._pinned[member] <= least]
        for place, member in enumerate(sorted(even, key=lambda member: (self._held[member] <= least, member))):
            numbers[member] = least + (place < extra)
        self._surplus = [held - number for held, number in zip(self._held, numbers, strict=True)]

    def place(self) -> None:
        """Gives the shards without a holder to members below their number."""
        surplus = self._surplus
        for group in self._groups.values():
            for key in group.free:
                below = (member for member, above in enumerate(surplus) if above < 0)
                to = min(below, key=lambda member: (group.counts[member], surplus[member]))
                self._give(group, key, to)

    def level(self) -> None:
        """Moves shards from members above their number to members below, the most levelling moves first."""
        step = max((max(group.counts) for group in self._groups.values()), default=0)
        while any(above > 0 for above in self._surplus):
            for group in self._groups.values():
                for giver, taker in self._moves(group, step):
                    key = group.movable[giver].pop()
                    group.counts[giver] -= 1
                    self._surplus[giver] -= 1
                    self._give(group, key, taker)
            step = step // 2 if step > 3 else step - 1  # noqa: PLR2004 - halves as long as that is the longer step

    def _moves(self, group: _Holdings, step: int) -> Iterator[tuple[int, int]]:
        """Giver and taker within a group, as long as the giver has `step` more of it than the taker."""
        counts, surplus = group.counts, self._surplus
        while True:
            givers = [member for member, above in enumerate(surplus) if above > 0 and group.movable[member]]
            takers = [member for member, above in enumerate(surplus) if above < 0]
            if not givers or not takers:
                return
            giver = max(givers, key=lambda member: (counts[member], surplus[member]))
            taker = min(takers, key=lambda member: (counts[member], surplus[member]))
            if counts[giver] - counts[taker] < step:
                return
            yield giver, taker

    def _give(self, group: _Holdings, key: ShardKey, to: int) -> None:
        self.owners[key] = self._living[to]
        group.counts[to] += 1
        self._surplus[to] += 1
