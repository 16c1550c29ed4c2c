"""Our objects in a real API server: read whole, written by differences, under preconditions, only while leading."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import JsonValue

from durable_timer.errors import KubeConflict, KubeGone, KubeRejected, NotLeading
from durable_timer.kube.client import OURS, PAGE, KubeClient
from durable_timer.kube.resources import NOTE_MAX, Resources
from durable_timer.models.resource import ADOPT_FROM, FINALIZER, Resource, ResourceKind
from tests.support.kubectl import Kubectl

pytestmark = pytest.mark.usefixtures("crds")

GROUP = ResourceKind.TIMER_GROUP
SUMMARY: dict[str, JsonValue] = {
    "shards": "1/2",
    "shardsAssigned": 1,
    "shardsTotal": 2,
    "executors": 1,
    "due": 3,
    "failed": 0,
    "observedTime": "2026-01-01T00:00:00.000000Z",
}
STATUS: dict[str, JsonValue] = {
    "groupId": "g",
    "observedGeneration": 1,
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Ready",
            "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
    ],
    "summary": {**SUMMARY, "oldestDueTime": "2026-01-01T00:00:00.000000Z"},
}


@pytest.fixture
def resources(client: KubeClient) -> Resources:
    return Resources(client, lambda: True)


async def made(client: KubeClient, namespace: str, name: str = "g", **metadata: Any) -> Resource:
    body = {"metadata": {"name": name, **metadata}, "spec": {}}
    return Resource.parse(await client.create(OURS[GROUP], namespace, body))


async def stored(resources: Resources, namespace: str, name: str = "g") -> Resource:
    found = await resources.get(GROUP, namespace, name)
    assert found is not None
    return found


async def test_an_object_is_read_as_it_is(client: KubeClient, resources: Resources, namespace: str) -> None:
    group = await made(client, namespace, labels={"team": "a"}, annotations={ADOPT_FROM: "x"}, finalizers=[FINALIZER])
    assert group == await stored(resources, namespace)
    assert (group.kind, group.namespace, group.name, group.generation) == (GROUP, namespace, "g", 1)
    assert (group.labels, group.annotations[ADOPT_FROM]) == ({"team": "a"}, "x")
    assert group.finalizers == (FINALIZER,)
    assert group.spec["shards"] == 16, "the defaults of its definition are filled in"
    assert group.status == {}
    assert not group.deleting
    assert group.created.tzinfo is not None
    assert str(group.key) == f"timergroups/{namespace}/g"


async def test_what_is_being_deleted_says_so(
    client: KubeClient, resources: Resources, kubectl: Kubectl, namespace: str
) -> None:
    await made(client, namespace, finalizers=[FINALIZER])
    kubectl("delete", "timergroup", "g", "-n", namespace, "--wait=false")
    deleting = await stored(resources, namespace)
    assert deleting.deleting
    with pytest.raises(KubeRejected):
        await resources.set_finalizer(
            Resource(**{**_fields(deleting), "finalizers": ("example.com/other",)}), present=True
        )
    await resources.set_finalizer(deleting, present=False)
    assert await resources.get(GROUP, namespace, "g") is None
    with pytest.raises(KubeGone):
        await resources.annotate(deleting, {"a": "b"})


async def test_a_list_is_complete_over_pages(client: KubeClient, resources: Resources, namespace: str) -> None:
    names = {f"g-{number}" for number in range(2 * PAGE + 1)}
    turns = asyncio.Semaphore(20)

    async def make(name: str) -> None:
        async with turns:
            await made(client, namespace, name)

    await asyncio.gather(*(make(name) for name in names))
    assert {group.name for group in await resources.list(GROUP, namespace)} == names
    everywhere = await resources.list(GROUP, None)
    assert {group.name for group in everywhere if group.namespace == namespace} == names
    assert await resources.list(ResourceKind.TIMER, namespace) == []


async def test_a_status_becomes_what_is_wanted_and_then_nothing_is_written(
    client: KubeClient, resources: Resources, namespace: str
) -> None:
    group = await made(client, namespace)
    written = await resources.write_status(group, STATUS)
    assert written is not None
    assert written.status == STATUS
    assert (written.generation, written.spec) == (group.generation, group.spec)
    assert await resources.write_status(written, STATUS) is None
    assert (await stored(resources, namespace)).resource_version == written.resource_version


async def test_only_what_differs_is_sent(client: KubeClient, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Mapping[str, Any]] = []
    patch = client.patch

    async def recorded(kind: Any, ns: str, name: str, body: Mapping[str, Any], *, status: bool = False) -> Any:
        sent.append(body)
        return await patch(kind, ns, name, body, status=status)

    monkeypatch.setattr(client, "patch", recorded)
    resources = Resources(client, lambda: True)
    first = await resources.write_status(await made(client, namespace), STATUS)
    assert first is not None
    changed: dict[str, JsonValue] = {**STATUS, "summary": {**SUMMARY, "due": 4, "oldestDueTime": None}}
    second = await resources.write_status(first, changed)
    assert second is not None
    assert second.status == {**STATUS, "summary": {**SUMMARY, "due": 4}}, "null is as absent, and what is absent goes"
    assert sent[-1]["status"] == {"summary": {"due": 4, "oldestDueTime": None}}
    assert await resources.write_status(second, changed) is None
    third = await resources.write_status(second, {"groupId": "g"})
    assert third is not None
    assert third.status == {"groupId": "g"}
    assert sent[-1]["status"] == {"conditions": None, "observedGeneration": None, "summary": None}


async def test_a_status_that_somebody_wrote_since_is_not_overwritten(
    client: KubeClient, resources: Resources, kubectl: Kubectl, namespace: str
) -> None:
    seen = await made(client, namespace)
    kubectl.patch("timergroup", "g", {"status": {"groupId": "other"}}, namespace=namespace, subresource="status")
    with pytest.raises(KubeConflict):
        await resources.write_status(seen, STATUS)
    assert (await stored(resources, namespace)).status == {"groupId": "other"}


async def test_a_namesake_made_since_is_not_written(
    client: KubeClient, resources: Resources, kubectl: Kubectl, namespace: str
) -> None:
    seen = await made(client, namespace)
    kubectl("delete", "timergroup", "g", "-n", namespace)
    with pytest.raises(KubeGone):
        await resources.write_status(seen, STATUS)
    await made(client, namespace)
    with pytest.raises(KubeConflict):
        await resources.write_status(seen, STATUS)


async def test_a_finalizer_is_put_on_and_taken_off_beside_others(
    client: KubeClient, resources: Resources, namespace: str
) -> None:
    group = await made(client, namespace, finalizers=["example.com/theirs"])
    on = await resources.set_finalizer(group, present=True)
    assert on.finalizers == ("example.com/theirs", FINALIZER)
    assert await resources.set_finalizer(on, present=True) is on
    with pytest.raises(KubeConflict):
        await resources.set_finalizer(group, present=True)
    off = await resources.set_finalizer(on, present=False)
    assert off.finalizers == ("example.com/theirs",)
    assert await resources.set_finalizer(off, present=False) is off


async def test_annotations_are_set_and_removed(client: KubeClient, resources: Resources, namespace: str) -> None:
    group = await made(client, namespace, annotations={"keep": "1", "go": "2"})
    changed = await resources.annotate(group, {"go": None, "new": "3"})
    assert changed.annotations == {"keep": "1", "new": "3"}
    assert await resources.annotate(changed, {"new": "3", "go": None}) is changed


async def test_who_does_not_lead_writes_nothing(client: KubeClient, kubectl: Kubectl, namespace: str) -> None:
    group = await made(client, namespace)
    follower = Resources(client, lambda: False)
    for write in (
        follower.write_status(group, STATUS),
        follower.set_finalizer(group, present=True),
        follower.annotate(group, {"a": "b"}),
    ):
        with pytest.raises(NotLeading):
            await write
    await follower.event(group, "Normal", "Reason", "told")
    assert await follower.write_status(group, {}) is None
    assert await stored(follower, namespace) == group
    assert kubectl("get", "events", "-n", namespace, "-o", "name") == ""


async def test_an_event_is_seen_where_people_look(
    client: KubeClient, resources: Resources, kubectl: Kubectl, namespace: str
) -> None:
    group = await made(client, namespace)
    await resources.event(group, "Warning", "GroupIdConflict", "ä" * NOTE_MAX)
    await resources.event(group, "Warning", "GroupIdConflict", "taken by another")
    described = kubectl("describe", "timergroup", "g", "-n", namespace)
    assert "Warning  GroupIdConflict" in described
    assert "durabletimer.dev/operator" in described
    assert "taken by another" in described


async def test_an_event_that_cannot_be_told_is_no_error(
    client: KubeClient, resources: Resources, namespace: str
) -> None:
    group = await made(client, namespace)
    await resources.event(Resource(**{**_fields(group), "namespace": "no-such-namespace"}), "Normal", "Reason", "text")


def _fields(resource: Resource) -> dict[str, Any]:
    return {name: getattr(resource, name) for name in Resource.__slots__}
