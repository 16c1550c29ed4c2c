"""Members, shards and claims: who owns what, as the store says it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple


class ShardKey(NamedTuple):
    """A shard, by the group it is one of."""

    group_id: str
    shard: int


class Claim(NamedTuple):
    """A shard under the epoch that its owner's claim returned (for a claim to be made: the epoch seen)."""

    group_id: str
    shard: int
    epoch: int


@dataclass(frozen=True, slots=True)
class MemberReport:
    """What a member tells about itself, refreshed each 10 s, and when it has read groups or found a Secret."""

    version: str = ""
    unreadable_secrets: tuple[str, ...] = ()
    """Ids of groups whose Secrets this member cannot read."""
    lateness_p99: dict[str, float] = field(default_factory=dict)
    """Group id → p99 lateness over 30 s, in seconds."""
    change: int = 0
    """Up to which `change` it has read the groups, and their Secrets."""


@dataclass(frozen=True, slots=True)
class Member:
    """An executor process. `beat` is a counter, `host` the pod's uid where there is one."""

    incarnation: str
    name: str
    pool: str
    host: str | None
    beat: int
    draining: bool
    dead: bool
    report: MemberReport


@dataclass(frozen=True, slots=True)
class BeatAnswer:
    """The answer to a beat that was accepted.

    `shards_token` is opaque: it differs from an earlier answer's whenever a shard row of the pool (owner, epoch,
    assignment, registration) was written in between. `members` are those of the pool, dead ones included.
    """

    shards_token: str
    members: tuple[Member, ...]


class Drain(NamedTuple):
    """Rows that an earlier owner may still settle: those taken under `epoch` by `incarnation`, until `until`."""

    epoch: int
    incarnation: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard's row: who owns it under which epoch, who is to own it by the plan of which term."""

    group_id: str
    shard: int
    epoch: int
    owner: str | None
    assigned_to: str | None
    plan_term: int
    drains: tuple[Drain, ...] = ()

    @property
    def key(self) -> ShardKey:
        return ShardKey(self.group_id, self.shard)


class Assignment(NamedTuple):
    """To whom a shard is assigned; None: to nobody."""

    group_id: str
    shard: int
    assigned_to: str | None
