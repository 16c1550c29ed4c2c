"""What the chart's pods are."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from durable_timer.config.settings import EnginePart
from durable_timer.config.sources import load
from durable_timer.models.durations import parse_duration
from durable_timer_api.handlers import service
from tests.support.helm import Helm, Json, Objects


def test_every_pod_is_restricted_and_bounded(full: Objects) -> None:
    assert len(full.pods()) == 7
    for name, pod in full.pods().items():
        assert pod["securityContext"]["runAsNonRoot"], name
        assert pod["securityContext"]["runAsUser"] > 0, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["enableServiceLinks"] is False, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(), name
        assert not [volume for volume in pod["volumes"] if "hostPath" in volume], name
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}, name
            assert "memory" in container["resources"]["limits"], name


def test_every_server_has_its_probes(full: Objects) -> None:
    for name, pod in full.pods().items():
        if name.startswith("Deployment"):
            scheme = "HTTPS" if name.endswith("bridge") else "HTTP"
            for probe, path in (("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
                wanted = {"path": path, "port": "http", "scheme": scheme}
                assert pod["containers"][0][probe]["httpGet"] == wanted, name
            patience = pod["containers"][0]["readinessProbe"]["timeoutSeconds"]
            assert patience > service._PROBE_TIMEOUT + 1, "a store that hangs must not cut off the answer"


def test_only_who_needs_the_api_has_a_token(plain: Objects, full: Objects) -> None:
    def tokens(objects: Objects) -> set[str]:
        return {
            name.rpartition("-timer-")[2] for name, pod in objects.pods().items() if pod["automountServiceAccountToken"]
        }

    assert tokens(plain) == {"operator", "uninstall"}
    assert tokens(full) == {"operator", "uninstall", "executor-default", "executor-reports", "executor-slow"}
    assert all(account["automountServiceAccountToken"] is False for account in plain.of("ServiceAccount") if account)


def test_executors_hand_over_before_they_end(plain: Objects) -> None:
    deployment = plain.one("Deployment", "-executor-default")
    pod = deployment["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert deployment["spec"]["replicas"] == 2
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    drain = EnginePart().drain_timeout
    assert pod["terminationGracePeriodSeconds"] >= drain.total_seconds() + 20
    assert "lifecycle" not in container
    lost = {each["key"]: each["tolerationSeconds"] for each in pod["tolerations"]}
    assert lost == {"node.kubernetes.io/not-ready": 15, "node.kubernetes.io/unreachable": 15}
    assert fields(container) == {
        "DURABLE_TIMER_MEMBER_NAME": "metadata.name",
        "DURABLE_TIMER_MEMBER_HOST": "metadata.uid",
    }
    memory = [volume for volume in pod["volumes"] if volume.get("emptyDir", {}).get("medium") == "Memory"]
    assert [volume["name"] for volume in memory] == ["secrets"]


@pytest.mark.parametrize(("how", "rule"), [("preferred", "preferred"), ("required", "required")])
def test_operators_avoid_one_another(helm: Helm, how: str, rule: str) -> None:
    deployment = helm.render({"operator": {"antiAffinity": how}}).one("Deployment", "-operator")
    assert deployment["spec"]["replicas"] == 2
    affinity = deployment["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"]
    assert affinity.keys() == {f"{rule}DuringSchedulingIgnoredDuringExecution"}


def test_one_pool_says_what_it_has_of_its_own(full: Objects) -> None:
    default, reports, slow = (full.one("Deployment", f"-executor-{key}") for key in ("default", "reports", "slow"))
    assert "replicas" not in default["spec"]
    assert "replicas" not in slow["spec"]
    assert reports["spec"]["replicas"] == 2
    selectors = [
        each["spec"]["selector"]["matchLabels"]["durabletimer.dev/executors"] for each in (default, reports, slow)
    ]
    assert selectors == ["default", "reports", "slow"]
    assert reports["metadata"]["labels"]["durabletimer.dev/pool"] == "default"


def test_a_store_comes_from_its_secret_with_its_tls(full: Objects) -> None:
    variables = environment(full.one("Deployment", "-bridge"))
    assert variables["STORE_URL_DEFAULT"] == ("timers-db", "url")
    assert variables["DURABLE_TIMER_STORE"] == (
        "$(STORE_URL_DEFAULT)?sslmode=verify-full&sslrootcert=/etc/durable-timer/stores/default/ca.crt"
    )
    assert variables["STORE_URL_REPORTS_EU"] == ("reports-db", "uri")
    assert variables["DURABLE_TIMER_STORES__REPORTS-EU"] == (
        "$(STORE_URL_REPORTS_EU)?sslmode=verify-ca&sslrootcert=/etc/durable-timer/stores/reports-eu/ca.crt"
    )
    assert variables["DURABLE_TIMER_STORES__SCRATCH"] == ("dt-durable-timer-store-scratch", "url")
    assert environment(full.one("Deployment", "-executor-reports"))["STORE_URL_REPORTS_EU"] == ("reports-db", "uri")
    mounts = full.one("Deployment", "-operator")["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert {"/etc/durable-timer/stores/default", "/etc/durable-timer/stores/reports-eu"} <= {
        mount["mountPath"] for mount in mounts
    }


def test_a_certificate_is_held_against_the_images_authorities_where_none_is_named(helm: Helm) -> None:
    def url(mode: str) -> str:
        objects = helm.render({"stores": {"default": {"tls": {"mode": mode}}}})
        return str(environment(objects.one("Deployment", "-bridge"))["DURABLE_TIMER_STORE"])

    assert url("verify-full").endswith("?sslmode=verify-full&sslrootcert=/etc/ssl/certs/ca-certificates.crt")
    assert url("require").endswith("?sslmode=require")


def test_no_url_is_shown(full: Objects) -> None:
    urls = [each for each in full if "postgresql://" in str(each)]
    assert {each["kind"] for each in urls} == {"Secret"}


def test_programs_accept_their_settings(full: Objects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for deployment in full.of("Deployment"):
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        config = Path(environment(deployment)["DURABLE_TIMER_CONFIG"]).name
        file = tmp_path / config
        file.write_text(settings_file(deployment, config))
        with monkeypatch.context() as patch:
            for variable in container["env"]:
                name = variable["name"]
                store = f"postgresql://u@h/{name.rpartition('_')[2].lower()}" if "_TIMER_STORE" in name else ""
                patch.setenv(name, store or variable.get("value", "from-a-field"))
            settings = load(file, {})
        assert settings.listen == ":8080"
        assert settings.store == "postgresql://u@h/store"
        name = container["name"]
        assert settings.stores.keys() == (set() if name == "executor" else {"reports-eu", "scratch"})
        if name == "executor":
            assert settings.pool == ("slow" if "slow" in config else "default")
            assert settings.kubernetes.secret_namespaces == ("team-a", "team-b")
            assert settings.engine.slots == (2000 if config == "executor-default.yaml" else 1000)
        if name == "operator":
            assert settings.kubernetes.lease_name == "dt-durable-timer-operator"
            assert settings.kubernetes.lease_namespace == "timers"


def test_pods_of_the_former_revision_keep_their_settings(helm: Helm, plain: Objects) -> None:
    changed = helm.render({"settings": {"engine": {"look_ahead": "5s"}}})
    before, after = ([each for each in objects if each["kind"] != "Deployment"] for objects in (plain, changed))
    assert before == after, "what running pods mount must not change under them"


def test_the_grace_period_bounds_the_drain(helm: Helm) -> None:
    def drain(values: Json) -> timedelta:
        deployment = helm.render(values).one("Deployment", "-executor-default")
        config = yaml.safe_load(settings_file(deployment, "executor-default.yaml"))
        return parse_duration(config["engine"]["drain_timeout"])

    assert drain({}) == EnginePart().drain_timeout
    assert drain({"executor": {"terminationGracePeriodSeconds": 60}}) == timedelta(seconds=35)
    assert drain({"executor": {"terminationGracePeriodSeconds": 7200}}) == timedelta(hours=1)
    assert drain({"settings": {"engine": {"drain_timeout": "1m40s"}}}) == timedelta(seconds=100)


def test_a_change_of_settings_replaces_just_the_pods_it_is_for(helm: Helm, plain: Objects) -> None:
    def marks(objects: Objects) -> dict[str, str]:
        return {
            each["metadata"]["name"]: each["spec"]["template"]["metadata"]["annotations"]["durabletimer.dev/settings"]
            for each in objects.of("Deployment")
        }

    changed = marks(helm.render({"executorPools": {"default": {"settings": {"engine": {"slots": 7}}}}}))
    before = marks(plain)
    assert {name for name in changed if changed[name] != before[name]} == {"dt-durable-timer-executor-default"}


def test_a_changed_url_replaces_just_the_pods_that_use_it(helm: Helm) -> None:
    def marks(url: str) -> dict[str, Any]:
        objects = helm.render({"stores": {"scratch": {"url": url}}})
        return {each["metadata"]["name"]: each["spec"]["template"] for each in objects.of("Deployment")}

    one, other = marks("postgresql://h/one"), marks("postgresql://h/other")
    assert {name.rpartition("-")[2] for name in one if one[name] != other[name]} == {"operator", "bridge"}


def settings_file(deployment: Json, name: str) -> str:
    """What a pod finds in its file of settings: the annotation that the file is made from."""
    template = deployment["spec"]["template"]
    volume = next(each for each in template["spec"]["volumes"] if each["name"] == "settings")
    (item,) = volume["downwardAPI"]["items"]
    assert item["path"] == name
    source = re.fullmatch(r"metadata\.annotations\['(.+)'\]", item["fieldRef"]["fieldPath"])
    assert source is not None
    text: str = template["metadata"]["annotations"][source[1]]
    return text


def environment(deployment: Json) -> dict[str, Any]:
    """A container's variables; those of Secrets as name and key."""
    found = {}
    for variable in deployment["spec"]["template"]["spec"]["containers"][0]["env"]:
        reference = variable.get("valueFrom", {}).get("secretKeyRef")
        found[variable["name"]] = (reference["name"], reference["key"]) if reference else variable.get("value")
    return found


def fields(container: Json) -> dict[str, str]:
    sources = {variable["name"]: variable.get("valueFrom", {}).get("fieldRef") for variable in container["env"]}
    return {name: source["fieldPath"] for name, source in sources.items() if source}
