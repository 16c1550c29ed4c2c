"""The custom resource definitions on a real API server: what is accepted, defaulted, shown, and left alone."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs.crds import KINDS, Kind
from durable_timer.models.group import TimerGroupManifest, TimerGroupSpec, spec_to_json
from durable_timer.models.status import (
    Condition,
    ConditionStatus,
    ConditionType,
    ExecutorState,
    ExecutorStatus,
    GroupReason,
    GroupSummary,
    TimerGroupStatus,
    TimerReason,
    TimerStatus,
)
from durable_timer.models.timer_manifest import TimerManifest, TimerSpec
from tests.support.kubectl import Kubectl

pytestmark = pytest.mark.usefixtures("crds")

ROOT = Path(__file__).parents[2]
FIXTURES = sorted((Path(__file__).parent / "fixtures" / "v1alpha1-first").glob("*.yaml"))
FENCED = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
OURS = "durabletimer.dev/v1alpha1"
NOW = datetime(2026, 11, 21, 19, 0, 0, 5, tzinfo=UTC)
SERVER_FIELDS = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "namespace")

GROUP_STATUS = TimerGroupStatus(
    observed_generation=1,
    group_id="demo",
    conditions=tuple(
        Condition(
            type=kind,
            status=ConditionStatus.TRUE,
            reason=GroupReason.READY,
            message="x" * 1024,
            observed_generation=1,
            last_transition_time=NOW,
        )
        for kind in ConditionType
    ),
    executors=tuple(ExecutorStatus(name=f"executor-{at}", state=ExecutorState.ACTIVE, shards="0-3,8") for at in range(100)),
    summary=GroupSummary(
        shards="16/16", shards_assigned=16, shards_total=16, executors=2, due=7, failed=1,
        oldest_due_time=NOW, observed_time=NOW,
    ),
)  # fmt: skip
TIMER_STATUS = TimerStatus(
    observed_generation=1,
    declared_generation=1,
    timer_id="k8s:default:hourly",
    group_id="demo",
    state="pending",
    next_run_time=NOW,
    last_run_time=NOW,
    last_outcome="completed",
    last_error="503",
    last_run_request="now",
    last_redrive_request="now",
    conditions=(
        Condition(
            type=ConditionType.READY,
            status=ConditionStatus.TRUE,
            reason=TimerReason.DECLARED,
            message="",
            last_transition_time=NOW,
        ),
    ),
)


def examples() -> list[Any]:
    """Our resources in examples/ and in the Markdown of the repository, each as YAML."""
    files = {str(file.relative_to(ROOT)): file.read_text() for file in sorted((ROOT / "examples").rglob("*.yaml"))}
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for number, text in enumerate(FENCED.findall(page.read_text()), 1):
            if OURS in text:
                files[f"{page.relative_to(ROOT)}:{number}"] = text
    return [pytest.param(text, id=name) for name, text in files.items()]


def ours(text: str) -> list[dict[str, Any]]:
    found = [json.loads(json.dumps(document, default=str)) for document in yaml.safe_load_all(text) if document]
    return [document for document in found if document.get("apiVersion") == OURS]


@pytest.mark.parametrize("text", examples())
def test_an_example_is_accepted_and_applying_it_again_changes_nothing(
    text: str, kubectl: Kubectl, namespace: str
) -> None:
    """With a status as an operator writes it in between, by server-side and by plain apply."""
    for document in ours(text):
        kind, name = document["kind"], document["metadata"]["name"]
        document["metadata"].pop("namespace", None)
        given = json.dumps(document)
        status = GROUP_STATUS if kind == "TimerGroup" else TIMER_STATUS
        kubectl("apply", "--server-side", "-n", namespace, "-f", "-", stdin=given)
        kubectl.patch(kind, name, {"status": status.to_json()}, namespace=namespace, subresource="status")
        before = kubectl.get(kind, name, namespace=namespace)
        assert before["status"] == status.to_json()
        kubectl("diff", "--server-side", "-n", namespace, "-f", "-", stdin=given)
        kubectl("apply", "--server-side", "-n", namespace, "-f", "-", stdin=given)
        assert kubectl.get(kind, name, namespace=namespace) == before
        kubectl("apply", "-n", namespace, "-f", "-", stdin=given)
        kubectl("diff", "-n", namespace, "-f", "-", stdin=given)
        after = kubectl.get(kind, name, namespace=namespace)
        assert (after["spec"], after["metadata"]["generation"]) == (before["spec"], 1)


@pytest.mark.parametrize(
    "spec", [{}, {"callback": {}, "retryPolicy": {}, "payload": None, "retention": {"failed": None}}]
)
def test_the_defaults_of_the_definition_are_those_of_the_model(
    spec: dict[str, Any], kubectl: Kubectl, namespace: str
) -> None:
    document = {"apiVersion": OURS, "kind": "TimerGroup", "metadata": {"name": "defaults"}, "spec": spec}
    kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(document))
    expected = without_nothing(json.loads(spec_to_json(TimerGroupSpec())))
    assert kubectl.get("timergroup", "defaults", namespace=namespace)["spec"] == expected
    kubectl("diff", "-n", namespace, "-f", "-", stdin=json.dumps(document))


def test_the_defaults_of_a_timer_are_those_of_the_model(kubectl: Kubectl, namespace: str) -> None:
    spec = {"groupRef": {"name": "demo"}, "schedule": {"cron": "0 * * * *"}, "callbackUrl": "http://a.example"}
    kubectl.apply(
        {"apiVersion": OURS, "kind": "Timer", "metadata": {"name": "hourly"}, "spec": spec}, namespace=namespace
    )
    model = TimerSpec.model_validate_json(json.dumps(spec))
    expected = without_nothing(model.model_dump(mode="json", by_alias=True))
    assert kubectl.get("timer", "hourly", namespace=namespace)["spec"] == expected


def without_nothing(value: Any) -> Any:
    """Without nulls and lists of nothing, at every depth: what Kubernetes has no words for."""
    if isinstance(value, dict):
        return {
            key: without_nothing(item)
            for key, item in value.items()
            if item not in (None, []) and without_nothing(item) != {}
        }
    return value


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_an_object_of_the_first_release_is_read_and_kept(path: Path, kubectl: Kubectl, namespace: str) -> None:
    document = yaml.safe_load(path.read_text())
    manifest, status = (
        (TimerGroupManifest, TimerGroupStatus) if document["kind"] == "TimerGroup" else (TimerManifest, TimerStatus)
    )
    manifest.model_validate_json(json.dumps(document))
    kept = document.pop("status", {})
    metadata = {key: value for key, value in document["metadata"].items() if key not in SERVER_FIELDS}
    kind, name = document["kind"], metadata["name"]
    kubectl("create", "-n", namespace, "-f", "-", stdin=json.dumps({**document, "metadata": metadata}))
    kubectl.patch(kind, name, {"status": kept}, namespace=namespace, subresource="status")
    stored = kubectl.get(kind, name, namespace=namespace)
    assert stored["spec"] == document["spec"]
    assert stored.get("status", {}) == kept
    assert {**kept, **status.model_validate_json(json.dumps(kept)).to_json()}.keys() >= kept.keys()
    assert status.model_validate_json(json.dumps(kept)).to_json().items() >= kept.items()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_get_shows_the_columns(kind: Kind, kubectl: Kubectl, namespace: str) -> None:
    spec = (
        {} if kind.name == "TimerGroup" else yaml.safe_load((ROOT / "examples/timers/hourly.yaml").read_text())["spec"]
    )
    kubectl.apply({"apiVersion": OURS, "kind": kind.name, "metadata": {"name": "a"}, "spec": spec}, namespace=namespace)
    narrow = ["NAME", *(column.name.upper() for column in kind.columns if not column.priority)]
    wide = ["NAME", *(column.name.upper() for column in kind.columns)]
    assert kubectl("get", kind.short, "-n", namespace).splitlines()[0].split() == narrow
    assert kubectl("get", kind.short, "-n", namespace, "-o", "wide").splitlines()[0].split() == wide
    assert kubectl("get", "durabletimer", "-n", namespace, "-o", "name").split() == [
        f"{kind.name.lower()}.durabletimer.dev/a"
    ]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_explain_has_words_for_every_field(kind: Kind, kubectl: Kubectl) -> None:
    for part in ("spec", "status"):
        text = kubectl("explain", f"{kind.plural}.{part}", "--recursive=false")
        assert "FIELDS" in text
        assert "<no description>" not in text


def test_nobody_writes_the_status_with_the_spec(kubectl: Kubectl, namespace: str) -> None:
    document = {"apiVersion": OURS, "kind": "TimerGroup", "metadata": {"name": "a"}, "spec": {}}
    kubectl.apply({**document, "status": {"groupId": "other"}}, namespace=namespace)
    assert "status" not in kubectl.get("timergroup", "a", namespace=namespace)


def test_a_wait_ends_when_it_is_ready(kubectl: Kubectl, namespace: str) -> None:
    kubectl.apply(
        {"apiVersion": OURS, "kind": "TimerGroup", "metadata": {"name": "a"}, "spec": {}}, namespace=namespace
    )
    status = {"status": GROUP_STATUS.to_json()}
    kubectl.patch("timergroup", "a", status, namespace=namespace, subresource="status")
    kubectl("wait", "--for=condition=Ready", "--timeout=10s", "-n", namespace, "timergroup/a")
