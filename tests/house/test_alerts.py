"""Alerts and dashboard: they name metrics that are served, each alert fires and stays away, and has its runbook."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.promtool import promtool

ROOT = Path(__file__).parents[2]
RULES = ROOT / "charts/durable-timer/alerts/durable-timer.yaml"
DASHBOARD = ROOT / "charts/durable-timer/dashboards/durable-timer.json"
CASES = ROOT / "tests/alerts/durable-timer.yaml"
RUNBOOKS = ROOT / "docs/runbooks"

GROUPS = yaml.safe_load(RULES.read_text())["groups"]
ALERTS: dict[str, dict[str, Any]] = {rule["alert"]: rule for group in GROUPS for rule in group["rules"]}
PANELS: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
QUERIES = [target["expr"] for panel in PANELS for target in panel.get("targets", ())]

FROM_SCRAPING = {"namespace", "pod", "instance"}
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "info": ("_info",), "gauge": ("",)}


def served() -> dict[str, set[str]]:
    """The labels of each metric in docs/metrics.md, which is generated from the code, by the names in Prometheus."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \|", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE)
    names = {
        name.removesuffix("_total").removesuffix("_info") + suffix: set(re.findall(r"\w+", labels))
        for name, kind, labels in rows
        for suffix in SUFFIXES[kind]
    }
    return {name: labels | ({"le"} if name.endswith("_bucket") else set()) for name, labels in names.items()}


@pytest.fixture(scope="module")
def program() -> Path:
    found = promtool()
    if found is None:
        pytest.skip("no promtool here, and no Go to build it with")
    return found


def run(program: Path, *arguments: str | Path) -> str:
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("expression", [*(rule["expr"] for rule in ALERTS.values()), *QUERIES])
def test_every_metric_is_served_with_the_labels_that_are_asked_for(expression: str) -> None:
    metrics = served()
    named = re.findall(r"\b((?:durable_timer|process)_\w+)(?:\{([^}]*)\})?", expression)
    assert named
    known = set()
    for name, matchers in named:
        assert name in metrics or name == "process_cpu_seconds_total", f"no process serves {name}"
        labels = metrics.get(name, set()) | FROM_SCRAPING
        known |= labels
        assert set(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', matchers)) <= labels, f"{name} has {labels}"
    for grouping in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression):
        assert set(re.findall(r"\w+", grouping)) <= known


def test_every_metric_has_a_panel_or_an_alert() -> None:
    shown = set(re.findall(r"durable_timer_\w+", " ".join([*QUERIES, *(rule["expr"] for rule in ALERTS.values())])))
    bases = {re.sub(r"_(bucket|sum|count)$", "", name) for name in served() if name.startswith("durable_timer_")}
    missing = bases - {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}
    assert missing <= {"durable_timer_timers_taken_total", "durable_timer_timers_purged_total"}


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    assert 8 <= len(ALERTS) <= 12
    for name, rule in ALERTS.items():
        assert rule["labels"]["severity"] in {"critical", "warning"}, name
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}, name
        runbook = ROOT / rule["annotations"]["runbook_url"]
        assert runbook.parent == RUNBOOKS, name
        assert runbook.read_text().startswith(f"# {name}\n"), f"{runbook.name} is not the page of {name}"


def test_the_runbook_of_an_alert_has_all_its_parts() -> None:
    for path in (ROOT / rule["annotations"]["runbook_url"] for rule in ALERTS.values()):
        text = path.read_text()
        assert re.findall(r"^## (.+)$", text, re.MULTILINE)[:3] == ["What you see", "Why", "What to do"], path.name
        assert "```sh\n" in text, f"{path.name} has no command"


def test_every_runbook_is_found_from_the_first_page() -> None:
    first = (RUNBOOKS / "README.md").read_text()
    pages = {path.name for path in RUNBOOKS.glob("*.md")} - {"README.md"}
    assert not {name for name in pages if f"({name})" not in first}


def test_every_alert_is_shown_to_fire_and_to_stay_away() -> None:
    fires: set[str] = set()
    calm: set[str] = set()
    for case in yaml.safe_load(CASES.read_text())["tests"]:
        for check in case["alert_rule_test"]:
            (fires if check["exp_alerts"] else calm).add(check["alertname"])
    assert fires == calm == ALERTS.keys()


def test_the_rules_are_rules(program: Path) -> None:
    assert f"{len(ALERTS)} rules found" in run(program, "check", "rules", "--lint=all", "--lint-fatal", RULES)


def test_alerts_fire_when_they_should_and_only_then(program: Path) -> None:
    run(program, "test", "rules", CASES)


def test_the_dashboard_asks_what_prometheus_understands(program: Path, tmp_path: Path) -> None:
    values = {"$__rate_interval": "5m", "$namespace": ".*", "$group": ".*"}
    rules = []
    for number, query in enumerate(QUERIES):
        expression = query
        for variable, value in values.items():
            expression = expression.replace(variable, value)
        rules.append({"record": f"panel:{number}", "expr": expression})
    file = tmp_path / "panels.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    run(program, "check", "rules", "--lint=none", file)


def test_panels_have_their_own_place() -> None:
    ids = [panel["id"] for panel in PANELS]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
