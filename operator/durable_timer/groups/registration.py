"""Brings the groups of manifests into their stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from durable_timer.errors import GroupError, GroupIdConflict, ShardsMismatch
from durable_timer.groups.documents import Problem
from durable_timer.groups.manifests import LoadedManifest, raise_problems
from durable_timer.models.group import Group, GroupRegistration, GroupState
from durable_timer.stores.base import Store


async def apply_groups(stores: Mapping[str, Store], manifests: Sequence[LoadedManifest]) -> list[Group]:
    """Registers each group in the store that it names; what is as it was is left as it is, so that this can be repeated.

    Groups registered from files before that are in none now stay as they are, and go on: only an explicit purge ends
    a group. A changed spec raises the group's generation by one.

    Raises:
        ManifestError: A manifest names a store that is not in `stores`, before anything is written; or a store refuses
            groups (another owner, another shard count, a purge under way) or an active one would change its pool,
            while the others are registered. Each is named with file, line and field.
        StoreUnavailable: A store did not answer; some groups may be registered.
    """
    raise_problems(_elsewhere(manifests, list(stores)))
    groups: list[Group] = []
    problems: list[Problem] = []
    for name, store in stores.items():
        own = [one for one in manifests if one.manifest.spec.store == name]
        if own:
            groups.extend(await _apply(store, own, problems))
    raise_problems(problems)
    return groups


async def _apply(store: Store, manifests: Sequence[LoadedManifest], problems: list[Problem]) -> list[Group]:
    present = {group.group_id: group for group in (await store.groups(None))[0]}
    groups: list[Group] = []
    for one in manifests:
        row = present.get(one.manifest.group_id)
        if row is not None and _moves_pool(one, row):
            problems.append(one.document.problem(("spec", "executorPool"), f"must stay {row.pool!r}; it never changes"))
            continue
        try:
            groups.append(await store.register_group(_registration(one, row)))
        except GroupError as error:
            problems.append(_refused(one, error))
    return groups


def _elsewhere(manifests: Sequence[LoadedManifest], names: Sequence[str]) -> list[Problem]:
    known = " or ".join(map(repr, names))
    rule = f"must be {known}, the {'store' if len(names) == 1 else 'stores'} that this process has"
    return [one.document.problem(("spec", "store"), rule) for one in manifests if one.manifest.spec.store not in names]


def _moves_pool(one: LoadedManifest, row: Group) -> bool:
    """Whether shards would leave a pool whose members still own them, and which would then no longer see them."""
    active = row.state is GroupState.ACTIVE and row.owner == one.owner
    return active and row.pool != one.manifest.spec.executor_pool


def _registration(one: LoadedManifest, present: Group | None) -> GroupRegistration:
    spec = one.manifest.spec
    generation = 1
    if present is not None:
        generation = present.generation if present.spec == spec else present.generation + 1
    return GroupRegistration(
        group_id=one.manifest.group_id,
        owner=one.owner,
        shards=spec.shards,
        pool=spec.executor_pool,
        spec=spec,
        generation=generation,
    )


def _refused(one: LoadedManifest, error: GroupError) -> Problem:
    match error:
        case GroupIdConflict():
            rule = (
                f"{error}; choose another id, or hand the group over: "
                f"durable-timer groups transfer {error.group_id} --to {one.owner}"
            )
            return one.document.problem(one.id_location, rule)
        case ShardsMismatch():
            rule = f"must be {error.present}, which the group has in the store; the count changes only after a purge"
            return one.document.problem(("spec", "shards"), rule)
        case _:
            return one.document.problem(one.id_location, str(error))
