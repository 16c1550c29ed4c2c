"""The examples of docs/gitops.md and docs/install.md."""

import json
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from docs.chart import ROOT

LUA = shutil.which("lua") or shutil.which("lua5.4")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / "docs" / page).read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", ["gitops.md", "install.md"])
def test_every_example_is_yaml(page: str) -> None:
    assert [list(yaml.safe_load_all(block)) for block in blocks(page, "yaml")]


def test_what_is_scaled_to_nothing_is_waited_for() -> None:
    """A pod that drains goes on writing, and an operator puts its finalizers back, for as long as it is there."""
    pages = [page for page in (ROOT / "docs").rglob("*.md") if page.parent.name != "decisions"]
    found = [
        (page.name, block)
        for page in pages
        for block in re.findall(r"^ *```sh\n(.*?)^ *```$", page.read_text(), re.MULTILINE | re.DOTALL)
        if "--replicas=0" in block
    ]
    assert {name for name, _ in found} == {"install.md", "operations.md"}
    for name, block in found:
        after = block.partition("--replicas=0")[2]
        assert "wait --for=delete pod -l" in after.strip().splitlines()[0], name


def test_a_restore_asks_the_store_not_conditions_of_before() -> None:
    text = (ROOT / "docs/operations.md").read_text().partition("## Backup and restore")[2].partition("\n## ")[0]
    assert ".spec.paused == true" in text
    assert "--for=condition" not in text
    assert text.index(".spec.paused == true") < text.index("component=executor --replicas"), "before they are back"


def health_check(kind: str) -> str:
    maps = [document for block in blocks("gitops.md", "yaml") for document in yaml.safe_load_all(block)]
    found = next(each["data"] for each in maps if each.get("metadata", {}).get("name") == "argocd-cm")
    text: str = found[f"resource.customizations.health.durabletimer.dev_{kind}"]
    return text


def condition(type_: str, status: str = "True") -> dict[str, str]:
    return {"type": type_, "status": status, "reason": f"{type_}Reason", "message": "words"}


def resource(*conditions: dict[str, str], observed: int = 2, **more: Any) -> dict[str, Any]:
    status = {"observedGeneration": observed, "conditions": list(conditions)} if conditions else {}
    return {"metadata": {"generation": 2}, "spec": {}, "status": status, **more}


CASES = {
    "new": ({"metadata": {"generation": 1}, "spec": {}}, "Progressing"),
    "ready": (resource(condition("Ready")), "Healthy"),
    "changed": (resource(condition("Ready"), observed=1), "Progressing"),
    "not ready": (resource(condition("Ready", "False"), condition("Reconciling")), "Progressing"),
    "stalled": (resource(condition("Ready", "False"), condition("Stalled")), "Degraded"),
    "stalled before": (resource(condition("Ready", "False"), condition("Stalled"), observed=1), "Progressing"),
    "paused": (resource(condition("Paused"), condition("Ready")), "Suspended"),
    "suspended": (resource(condition("Ready"), spec={"suspend": True}), "Suspended"),
    "not paused": (resource(condition("Paused", "False"), condition("Ready")), "Healthy"),
    "late": (resource(condition("Ready"), condition("LatenessWithinObjective", "False")), "Healthy"),
    "run failed": (resource(condition("Ready"), condition("LastRunSucceeded", "False")), "Healthy"),
    "deleted": (
        resource(condition("Ready"), metadata={"generation": 2, "deletionTimestamp": "2030-01-01T00:00:00Z"}),
        "Progressing",
    ),
}


@pytest.mark.skipif(LUA is None, reason="needs Lua")
@pytest.mark.parametrize("kind", ["TimerGroup", "Timer"])
@pytest.mark.parametrize(("body", "health"), CASES.values(), ids=CASES)
def test_argo_cd_sees_the_health(kind: str, body: dict[str, Any], health: str) -> None:
    program = f"obj = {table(body)}\nlocal check = function()\n{health_check(kind)}\nend\nprint(check().status)"
    done = subprocess.run([str(LUA), "-"], input=program, capture_output=True, text=True, timeout=10, check=False)
    assert (done.stdout.strip(), done.stderr) == (health, "")


def table(value: object) -> str:
    """A value as Lua writes it."""
    match value:
        case dict():
            return "{" + ", ".join(f"[{json.dumps(name)}] = {table(part)}" for name, part in value.items()) + "}"
        case list():
            return "{" + ", ".join(map(table, value)) + "}"
        case _:
            return json.dumps(value)
