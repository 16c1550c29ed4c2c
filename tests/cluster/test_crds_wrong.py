"""What the API server refuses when it is applied, and with which words."""

import json
from typing import Any

import pytest

from tests.support.kubectl import Kubectl
from tests.support.wrong_resources import WRONG, group, timer

pytestmark = pytest.mark.usefixtures("crds")


@pytest.mark.parametrize(("wrong", "words"), WRONG.values(), ids=WRONG)
def test_a_wrong_resource_is_refused_with_a_message(wrong: dict[str, Any], words: str, kubectl: Kubectl) -> None:
    done = kubectl.run("apply", "--dry-run=server", "-n", "default", "-f", "-", stdin=json.dumps(wrong))
    assert done.returncode != 0
    assert words in done.stderr


IMMUTABLE: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "groupId changed": (group({"groupId": "a"}), group({"groupId": "b"}), "spec.groupId: Invalid value"),
    "groupId added, though the same": (group({}), group({"groupId": "wrong"}), "spec.groupId: Invalid value"),
    "groupId removed": (group({"groupId": "wrong"}), group({}), "spec.groupId: Invalid value"),
    "shards changed": (group({"shards": 4}), group({"shards": 8}), "spec.shards: Invalid value"),
    "shards removed": (group({"shards": 4}), group({}), "spec.shards: Invalid value"),
    "shards added": (group({}), group({"shards": 17}), "spec.shards: Invalid value"),
    "store changed": (group({}), group({"store": "other"}), "spec.store: Invalid value"),
    "pool removed": (group({"executorPool": "a"}), group({}), "spec.executorPool: Invalid value"),
    "groupRef changed": (timer({}), timer({"groupRef": {"name": "other"}}), "spec.groupRef: Invalid value"),
}


@pytest.mark.parametrize(("first", "then", "words"), IMMUTABLE.values(), ids=IMMUTABLE)
def test_what_never_changes_does_not_change(
    first: dict[str, Any], then: dict[str, Any], words: str, kubectl: Kubectl, namespace: str
) -> None:
    kubectl.apply(first, namespace=namespace)
    kubectl.apply(first, namespace=namespace)
    done = kubectl.run("apply", "--server-side", "-n", namespace, "-f", "-", stdin=json.dumps(then))
    assert done.returncode != 0
    assert words in done.stderr
    assert "is immutable" in done.stderr


@pytest.mark.parametrize("first", [group({"shards": 4}), timer({})], ids=["TimerGroup", "Timer"])
def test_nobody_gets_around_it_by_removing_the_spec(first: dict[str, Any], kubectl: Kubectl, namespace: str) -> None:
    kubectl.apply(first, namespace=namespace)
    kind = first["kind"].lower()
    done = kubectl.run("patch", kind, "wrong", "-n", namespace, "--type=merge", "-p", '{"spec":null}')
    assert done.returncode != 0
    assert "spec: Required value" in done.stderr


def test_the_defaults_may_be_written_out_later(kubectl: Kubectl, namespace: str) -> None:
    kubectl.apply(group({}), namespace=namespace)
    before = kubectl.get("timergroup", "wrong", namespace=namespace)
    kubectl.apply(group({"shards": 16, "store": "default", "executorPool": "default"}), namespace=namespace)
    after = kubectl.get("timergroup", "wrong", namespace=namespace)
    assert after["spec"] == before["spec"]
    assert after["metadata"]["generation"] == 1
