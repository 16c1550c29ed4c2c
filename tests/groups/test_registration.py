from __future__ import annotations

from pathlib import Path

import pytest

from durable_timer.errors import ManifestError
from durable_timer.groups import apply_groups, load_manifests
from durable_timer.models.group import Group, GroupRegistration, GroupState, TimerGroupSpec
from durable_timer.stores.memory import MemoryStore


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "groups.yaml"


def write(file: Path, *groups: tuple[str, str]) -> None:
    file.write_text(
        "---\n".join(
            f"apiVersion: durabletimer.dev/v1alpha1\nkind: TimerGroup\nmetadata:\n  name: {name}\nspec:\n  paused: false\n{spec}"
            for name, spec in groups
        )
    )


async def apply(store: MemoryStore, file: Path) -> list[Group]:
    return await apply_groups({"default": store}, load_manifests(file))


async def refusal(store: MemoryStore, file: Path) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        await apply(store, file)
    return str(caught.value).splitlines()


async def test_each_group_is_registered_with_its_owner(store: MemoryStore, file: Path) -> None:
    write(file, ("one", "  shards: 3\n  executorPool: fast\n"), ("two", "  groupId: second\n"))
    one, two = await apply(store, file)
    assert (one.group_id, one.owner, one.shards, one.pool) == ("one", "file:one", 3, "fast")
    assert (two.group_id, two.owner, two.shards, two.pool) == ("second", "file:two", 16, "default")
    assert {one.generation, two.generation} == {1}
    assert {one.state, two.state} == {GroupState.ACTIVE}


async def test_applying_the_same_again_writes_nothing(store: MemoryStore, file: Path) -> None:
    write(file, ("one", ""))
    first = await apply(store, file)
    write(file, ("one", "  # said, and the default all the same\n  shards: 16\n"))
    assert await apply(store, file) == first


async def test_each_change_raises_the_generation(store: MemoryStore, file: Path) -> None:
    for generation, spec in enumerate(("", "  retention: {completed: 2h}\n", ""), start=1):
        write(file, ("one", spec))
        (group,) = await apply(store, file)
        assert group.generation == generation


async def test_a_group_that_left_the_files_stays_as_it_is(store: MemoryStore, file: Path) -> None:
    write(file, ("one", ""), ("two", ""))
    await apply(store, file)
    write(file, ("two", ""))
    await apply(store, file)
    groups, _ = await store.groups(None)
    assert {group.group_id: group.state for group in groups} == {"one": GroupState.ACTIVE, "two": GroupState.ACTIVE}


async def test_a_deleted_group_of_the_same_owner_is_active_again(store: MemoryStore, file: Path) -> None:
    write(file, ("one", ""))
    await apply(store, file)
    await store.set_group_state("one", "file:one", GroupState.DELETED)
    (group,) = await apply(store, file)
    assert group.state is GroupState.ACTIVE


async def test_refused_groups_are_named_by_file_line_and_field(store: MemoryStore, file: Path) -> None:
    write(file, ("counted", "  shards: 4\n"), ("gone", ""))
    await apply(store, file)
    await store.set_group_state("gone", "file:gone", GroupState.PURGING)
    await store.register_group(GroupRegistration("foreign", "default/shop/foreign", 16, "default", TimerGroupSpec(), 1))
    write(file, ("foreign", ""), ("counted", "  shards: 8\n"), ("own", "  groupId: foreign-too\n"), ("gone", ""))
    await store.register_group(GroupRegistration("foreign-too", "file:other", 16, "default", TimerGroupSpec(), 1))
    hand_over = "choose another id, or hand the group over: durable-timer groups transfer"
    assert await refusal(store, file) == [
        f"{file}:4: metadata.name: group 'foreign' belongs to 'default/shop/foreign'; {hand_over} foreign --to file:foreign",
        f"{file}:14: spec.shards: must be 4, which the group has in the store; the count changes only after a purge",
        f"{file}:22: spec.groupId: group 'foreign-too' belongs to 'file:other'; {hand_over} foreign-too --to file:own",
        f"{file}:27: metadata.name: group 'gone' is being purged",
    ]


async def test_a_refused_group_keeps_no_other_from_being_registered(store: MemoryStore, file: Path) -> None:
    await store.register_group(GroupRegistration("a", "file:other", 16, "default", TimerGroupSpec(), 1))
    write(file, ("a", ""), ("b", ""))
    assert len(await refusal(store, file)) == 1
    groups, _ = await store.groups(None)
    assert {group.group_id: group.owner for group in groups} == {"a": "file:other", "b": "file:b"}


async def test_a_group_of_another_store_is_refused_before_anything_is_written(store: MemoryStore, file: Path) -> None:
    write(file, ("one", ""), ("two", "  store: archive\n"))
    assert await refusal(store, file) == [f"{file}:14: spec.store: must be 'default', the store that this process has"]
    assert (await store.groups(None))[0] == []


async def test_an_active_groups_pool_stays(store: MemoryStore, file: Path) -> None:
    write(file, ("one", ""))
    await apply(store, file)
    write(file, ("one", "  executorPool: fast\n"))
    assert await refusal(store, file) == [f"{file}:7: spec.executorPool: must stay 'default'; it never changes"]
    await store.set_group_state("one", "file:one", GroupState.DELETED)
    (group,) = await apply(store, file)
    assert group.pool == "fast"
