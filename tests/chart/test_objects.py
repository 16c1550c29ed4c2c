"""What else the chart installs."""

import json

import pytest
import yaml

from docs.chart import CHART
from tests.support.helm import Helm, Objects, merged


def test_lint_finds_nothing(helm: Helm) -> None:
    said = helm.run("lint", "--strict", "--kube-version", "1.34", str(CHART), values={})
    assert "0 chart(s) failed" in said
    assert "WARNING" not in said


def test_nothing_runs_as_a_hook_but_before_an_uninstall(full: Objects) -> None:
    hooks = {each["kind"]: each["metadata"]["annotations"]["helm.sh/hook"] for each in full if hooked(each)}
    assert set(hooks.values()) == {"pre-delete"}
    assert hooks.keys() == {"ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "Job"}


def test_the_hook_ends_in_time(plain: Objects) -> None:
    job = plain.one("Job")["spec"]
    assert job["activeDeadlineSeconds"] <= 60
    assert job["template"]["spec"]["containers"][0]["args"] == [
        "uninstall", "--operator=timers/dt-durable-timer-operator", "--timeout=50s",
    ]  # fmt: skip


def test_definitions_stay_unless_told_otherwise(helm: Helm, plain: Objects) -> None:
    for definition in plain.of("CustomResourceDefinition"):
        assert definition["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert len(plain.of("CustomResourceDefinition")) == 2
    assert not helm.render({"crds": {"install": False}}).of("CustomResourceDefinition")
    for definition in helm.render({"crds": {"keep": False}}).of("CustomResourceDefinition"):
        assert "annotations" not in definition["metadata"]


def test_definitions_are_those_of_the_models(plain: Objects) -> None:
    for definition in plain.of("CustomResourceDefinition"):
        source = CHART.parents[1] / "crds" / f"{definition['spec']['names']['plural']}.yaml"
        assert definition["spec"] == yaml.safe_load(source.read_text())["spec"]


def test_drains_of_nodes_take_one_at_a_time(full: Objects) -> None:
    budgets = {each["metadata"]["name"]: each["spec"] for each in full.of("PodDisruptionBudget")}
    assert len(budgets) == 5
    assert {spec["maxUnavailable"] for spec in budgets.values()} == {1}
    assert {spec["unhealthyPodEvictionPolicy"] for spec in budgets.values()} == {"AlwaysAllow"}
    for name, spec in budgets.items():
        workload = full.one("Deployment", name.removeprefix("dt-durable-timer"))
        assert spec["selector"] == workload["spec"]["selector"]


def test_no_budget_where_none_is_wanted(helm: Helm) -> None:
    values = {name: {"maxUnavailable": None} for name in ("operator", "executor", "bridge")}
    assert not helm.render(values).of("PodDisruptionBudget")


def test_scaling_down_is_slow(full: Objects) -> None:
    scalers = [*full.of("HorizontalPodAutoscaler"), *full.of("ScaledObject")]
    assert sorted(each["spec"]["scaleTargetRef"]["name"].removeprefix("dt-durable-timer-") for each in scalers) == [
        "bridge", "executor-default", "executor-slow",
    ]  # fmt: skip
    for each in scalers:
        advanced = each["spec"].get("advanced", {}).get("horizontalPodAutoscalerConfig", each["spec"])
        down = advanced["behavior"]["scaleDown"]
        assert down["stabilizationWindowSeconds"] == 300
        assert down["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 60}]


def test_executors_are_scaled_by_what_is_late(full: Objects) -> None:
    hpa = full.one("HorizontalPodAutoscaler", "-executor-default")["spec"]["metrics"]
    assert [metric["type"] for metric in hpa] == ["Resource", "External"]
    rules = {
        rule["labels"]["executors"]: rule["expr"]
        for rule in full.one("PrometheusRule", "-scaling")["spec"]["groups"][0]["rules"]
    }
    query = full.one("ScaledObject", "-executor-slow")["spec"]["triggers"][1]["metadata"]["query"]
    assert query == rules["slow"]
    assert 'durabletimer_dev_executors="slow", le="1.0"' in query
    assert hpa[1]["external"]["metric"]["name"] == "durable_timer:late_per_second"


def test_policies_let_through_what_is_needed(full: Objects) -> None:
    policies = {each["metadata"]["name"].rpartition("-")[2]: each["spec"] for each in full.of("NetworkPolicy")}
    assert policies.keys() == {"operator", "executor", "bridge", "uninstall", "postgresql"}
    assert policies["bridge"]["ingress"][0]["from"] == [{"podSelector": {}}]
    assert "from" not in policies["executor"]["ingress"][0]
    ports = {
        name: [port["port"] for rule in spec.get("egress", []) for port in rule.get("ports", [])]
        for name, spec in policies.items()
    }
    assert ports["bridge"] == [53, 53, 5432]
    assert ports["operator"] == [53, 53, 5432, 443, 6443]
    assert ports["uninstall"] == [53, 53, 443, 6443]
    job = full.one("Job")["spec"]["template"]["metadata"]["labels"]
    assert policies["uninstall"]["podSelector"]["matchLabels"].items() <= job.items()
    assert not hooked(full.one("NetworkPolicy", "-uninstall")), "it has to be there before the hook's pod"
    assert {} in policies["executor"]["egress"]


def test_metrics_of_every_pod_are_read(full: Objects) -> None:
    service = full.one("Service", "-metrics")["spec"]
    assert service["clusterIP"] == "None"
    assert service["publishNotReadyAddresses"]
    for deployment in full.of("Deployment"):
        assert service["selector"].items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    monitor = full.one("ServiceMonitor")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= full.one("Service", "-metrics")["metadata"]["labels"].items()


def test_dashboards_and_alerts_are_those_of_the_chart(full: Objects) -> None:
    dashboards = sorted((CHART / "dashboards").glob("*.json"))
    alerts = sorted((CHART / "alerts").glob("*.yaml"))
    assert dashboards
    assert alerts
    for file in dashboards:
        found = full.one("ConfigMap", f"-{file.stem}")
        assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert json.loads(found["data"][file.name]) == json.loads(file.read_text())
    for file in alerts:
        assert full.one("PrometheusRule", f"-{file.stem}")["spec"] == yaml.safe_load(file.read_text())


def test_alerts_lead_to_their_runbooks(helm: Helm) -> None:
    at = "https://git.example.com/durable-timer/"
    objects = helm.render({"metrics": {"prometheusRule": {"enabled": True, "runbooksAt": at}}})
    rules = [
        rule for each in objects.of("PrometheusRule") for group in each["spec"]["groups"] for rule in group["rules"]
    ]
    alerts = [rule for rule in rules if "alert" in rule]
    assert alerts
    for alert in alerts:
        url = alert["annotations"]["runbook_url"]
        assert url.startswith(f"{at}docs/runbooks/")
        assert (CHART.parents[1] / url.removeprefix(at)).exists()


def test_more_objects_are_evaluated(full: Objects) -> None:
    names = {each["metadata"]["name"] for each in full.of("ConfigMap")}
    assert {"dt-more", "timers-text"} <= names


def test_one_password_goes_through_a_rendering(helm: Helm) -> None:
    objects = helm.render({"stores": {"default": {"secretName": ""}}, "embedded": {"enabled": True}})
    password = objects.one("Secret", "-postgresql")["stringData"]["password"]
    assert len(password) == 24
    assert objects.one("Secret", "-store-default")["stringData"]["url"] == (
        f"postgresql://durable_timer:{password}@dt-durable-timer-postgresql:5432/durable_timer"
    )


@pytest.mark.parametrize(("persistent", "kept"), [(True, "keep"), (False, None)])
def test_the_password_stays_as_long_as_the_data(helm: Helm, persistent: bool, kept: str | None) -> None:
    values = {"stores": {"default": {"secretName": ""}}, "embedded": {"persistence": {"enabled": persistent}}}
    secret = helm.render(merged(values, {"embedded": {"enabled": True}})).one("Secret", "-postgresql")
    assert secret["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == kept


def test_all_pods_have_the_class_of_priority(full: Objects) -> None:
    name = full.one("PriorityClass")["metadata"]["name"]
    ours = {key: pod for key, pod in full.pods().items() if key.startswith(("Deployment", "Job"))}
    assert {pod["priorityClassName"] for pod in ours.values()} == {name}


def test_names_stay_within_bounds(helm: Helm) -> None:
    long = "a-release-with-a-name-of-fifty-three-letters-in-all-x"
    objects = helm.render({"fullnameOverride": long, "executorPools": {"p" * 20: {}}})
    assert max(len(each["metadata"]["name"]) for each in objects) <= 253
    for kind in ("Service", "Job"):
        assert max(len(each["metadata"]["name"]) for each in objects.of(kind)) <= 63


def hooked(document: dict[str, object]) -> bool:
    metadata = document["metadata"]
    return isinstance(metadata, dict) and "helm.sh/hook" in metadata.get("annotations", {})
