"""Writes of groups' rows, which only a leader makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from durable_timer.errors import NotLeading
from durable_timer.models.group import Group, GroupRegistration, GroupState
from durable_timer.stores.base import Store


@dataclass(frozen=True, slots=True)
class GroupWriter:
    """One store, for a leader. All raise StoreError; NotLeading, and send nothing, when `leading` says no.

    A leader that stood still would else go on in the middle of what another has finished since: mark a group as purging
    that was applied anew, or register a spec of yesterday.
    """

    store: Store
    leading: Callable[[], bool]

    async def register(self, asked: GroupRegistration) -> Group:
        """See `Store.register_group`."""
        self._require_leading(asked.group_id)
        return await self.store.register_group(asked)

    async def mark(self, group_id: str, owner: str, state: GroupState) -> Group:
        """See `Store.set_group_state`."""
        self._require_leading(group_id)
        return await self.store.set_group_state(group_id, owner, state)

    async def transfer(self, group_id: str, to_owner: str, from_owner: str) -> Group:
        """See `Store.transfer_group`."""
        self._require_leading(group_id)
        return await self.store.transfer_group(group_id, to_owner, from_owner)

    def _require_leading(self, group_id: str) -> None:
        if not self.leading():
            raise NotLeading(f"not leading: group {group_id} stays as it is")
