"""The examples under a real operator: all become Ready, and applying them again is no difference."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.operators import Site
from tests.support.kubectl import Kubectl

pytestmark = [pytest.mark.postgresql, pytest.mark.usefixtures("crds")]

EXAMPLES = Path(__file__).parents[2] / "examples"


def documents() -> list[dict[str, Any]]:
    texts = [path.read_text() for path in sorted(EXAMPLES.rglob("*.yaml"))]
    return [document for text in texts for document in yaml.safe_load_all(text)]


def test_applying_the_examples_again_after_reconcile_changes_nothing(
    kubectl: Kubectl, namespace: str, postgres_database: str, tmp_path: Path
) -> None:
    found = documents()
    assert {document["kind"] for document in found} == {"TimerGroup", "Timer"}
    given = json.dumps({"apiVersion": "v1", "kind": "List", "items": found})
    with Site(kubectl, namespace, postgres_database, tmp_path) as site:
        site.operator()
        site.executor()
        kubectl("apply", "--server-side", "-n", namespace, "-f", "-", stdin=given)
        kubectl("wait", "--for=condition=Ready", "timergroups,timers", "--all", "-n", namespace, "--timeout=40s")
        before = specs(kubectl, namespace)
        kubectl("diff", "--server-side", "-n", namespace, "-f", "-", stdin=given)
        kubectl("apply", "--server-side", "-n", namespace, "-f", "-", stdin=given)
        assert specs(kubectl, namespace) == before
        kubectl("apply", "-n", namespace, "-f", "-", stdin=given)
        kubectl("diff", "-n", namespace, "-f", "-", stdin=given)
        assert specs(kubectl, namespace) == before
        assert {generation for generation, _ in before.values()} == {1}


def specs(kubectl: Kubectl, namespace: str) -> dict[tuple[str, str], tuple[int, Any]]:
    """The generation and the spec of each of our resources."""
    listed = json.loads(kubectl("get", "durabletimer", "-n", namespace, "-o", "json"))
    return {
        (one["kind"], one["metadata"]["name"]): (one["metadata"]["generation"], one["spec"]) for one in listed["items"]
    }
