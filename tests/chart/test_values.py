"""What values the chart takes, and what it refuses."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from docs.chart import CHART, KUBE_VERSION, descriptions, property_of
from tests.support.helm import Helm, HelmRefused

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"bogus": 1}, "'bogus' not allowed"),
    ({"bridge": {"bogus": 1}}, "'bogus' not allowed"),
    ({"executorPools": {"x": {"bogus": 1}}}, "at '/executorPools/x': additional properties 'bogus' not allowed"),
    ({"executorPools": {"x": {"replicas": "many"}}}, "/executorPools/x/replicas"),
    ({"executorPools": {"Not_A_Label": {}}}, "invalid propertyName 'Not_A_Label'"),
    ({"executorPools": {"default": None}}, "minProperties"),
    ({"executor": {"autoscaling": {"hpa": {"enabled": True}, "keda": {"enabled": True}}}}, "/executor/autoscaling"),
    ({"executorPools": {"x": {"autoscaling": {"hpa": {"enabled": True}, "keda": {"enabled": True}}}}}, "autoscaling"),
    (
        {
            "executor": {"autoscaling": {"hpa": {"enabled": True}}},
            "executorPools": {"x": {"autoscaling": {"keda": {"enabled": True}}}},
        },
        "hpa and keda exclude each other",
    ),
    ({"executor": {"autoscaling": {"objectiveSeconds": "0.7"}}}, "/executor/autoscaling/objectiveSeconds"),
    ({"executorPools": {"x": {"store": "nowhere"}}}, 'there is no store "nowhere"'),
    ({"stores": {"default": None}}, "missing property 'default'"),
    ({"stores": {"default": {"secretName": ""}}}, "name the Secret that holds the database's URL"),
    ({"stores": {"default": {"url": "postgresql://u@h/d"}}}, "name either secretName or url"),
    ({"stores": {"default": {"secretName": "", "url": "mysql://h/d"}}}, "/stores/default/url"),
    ({"stores": {"default": {"tls": {"mode": "allow"}}}}, "/stores/default/tls/mode"),
    ({"operator": {"antiAffinity": "maybe"}}, "/operator/antiAffinity"),
    ({"operator": {"replicas": -1}}, "/operator/replicas"),
    ({"image": {"digest": "sha256:short"}}, "/image/digest"),
    ({"bridge": {"service": {"port": 70000}}}, "/bridge/service/port"),
    ({"bridge": {"ingress": {"enabled": True}}}, "bridge.ingress.hosts: an Ingress needs at least one host"),
    ({"bridge": {"preStopSeconds": 30}}, "bridge.terminationGracePeriodSeconds: must exceed preStopSeconds"),
    ({"bridge": {"settings": {"http": {"request_timeout": "60s"}}}}, "http.request_timeout (60s) and 2 s for the"),
    ({"settings": {"http": {"request_timeout": "22s500ms"}}}, "2 s for the last answers, 30 in all"),
    ({"executor": {"terminationGracePeriodSeconds": 29}}, "/executor/terminationGracePeriodSeconds"),
    (
        {"executorPools": {"x": {"settings": {"engine": {"drain_timeout": "5m11s"}}}}},
        "executorPools.x: terminationGracePeriodSeconds (330) must exceed engine.drain_timeout (5m11s) by 20",
    ),
    ({"metrics": {"serviceMonitor": {"interval": "60s"}}}, "/metrics/serviceMonitor/interval"),
    ({"metrics": {"serviceMonitor": {"interval": "1m"}}}, "/metrics/serviceMonitor/interval"),
    ({"bridge": {"autoscaling": {"enabled": True, "minReplicas": 11}}}, "bridge.autoscaling: minReplicas is above"),
    (
        {"executor": {"autoscaling": {"minReplicas": 11, "hpa": {"enabled": True}}}},
        "executorPools.default.autoscaling: minReplicas is above",
    ),
    (
        {"stores": {"default": {"tls": {"caSecretName": "ca"}}}},
        "stores.default.tls.mode: must be verify-ca or verify-full",
    ),
    (
        {"stores": {"default": {"tls": {"mode": "verify-full", "caSecretName": "a", "caConfigMapName": "b"}}}},
        "stores.default.tls: name either caSecretName or caConfigMapName",
    ),
    (
        {"executor": {"secretNamespaces": [{"namespace": "a"}, {"namespace": "a", "names": ["x"]}]}},
        "executor.secretNamespaces: a is there twice",
    ),
    ({"settings": {"engin": {"slots": 5}}}, "'engin' not allowed"),
    ({"bridge": {"settings": {"http": {"timeout": "5s"}}}}, "'timeout' not allowed"),
    ({"executorPools": {"x": {"settings": {"engine": {"slotz": 5}}}}}, "/executorPools/x/settings/engine"),
    ({"settings": {"store": "sqlite:///x"}}, "settings.store is decided by other values"),
    ({"executorPools": {"x": {"settings": {"pool": "y"}}}}, "settings.pool is decided by other values"),
]


@pytest.mark.parametrize(("values", "message"), WRONG, ids=[message for _, message in WRONG])
def test_wrong_values_are_refused_with_their_place(helm: Helm, values: dict[str, Any], message: str) -> None:
    with pytest.raises(HelmRefused) as refused:
        helm.text(values)
    assert message in str(refused.value)


def test_every_value_has_words_and_a_schema() -> None:
    text = (CHART / "values.yaml").read_text()
    schema = json.loads((CHART / "values.schema.json").read_text())
    words = descriptions(text)
    missing = [path for path in paths(yaml.safe_load(text), schema) if path not in words]
    assert not missing
    for path in words:
        assert property_of(schema, path)["description"]


def test_text_stays_text_whatever_it_looks_like(helm: Helm) -> None:
    values = {
        "crds": {"install": False},
        "fullnameOverride": "10",
        "nameOverride": "12",
        "executorPools": {"1": {}, "on": {"pool": "2"}, "true": {"autoscaling": {"hpa": {"enabled": True}}}},
        "executor": {"secretNamespaces": [{"namespace": "2025", "names": ["3"]}]},
        "watch": {"namespaces": ["2026"]},
        "stores": {
            "default": {
                "secretName": "4",
                "secretKey": "5",
                "tls": {"mode": "verify-ca", "caSecretName": "6", "caKey": "7"},
            },
            "8": {"secretName": "9", "tls": {"mode": "verify-ca", "caConfigMapName": "10"}},
        },
        "bridge": {
            "tls": {"secretName": "11"},
            "ingress": {"enabled": True, "className": "12", "hosts": [{"host": "13"}]},
        },
        "image": {"pullSecrets": ["14"]},
        "priorityClass": {"name": "15"},
        "metrics": {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}},
        "networkPolicy": {"enabled": True},
    }
    command = ("template", "007", str(CHART), "--namespace", "2024", "--kube-version", KUBE_VERSION)
    objects = [each for each in yaml.safe_load_all(helm.run(*command, values=values)) if each]
    assert {each["metadata"]["namespace"] for each in objects if "namespace" in each["metadata"]} == {
        "2024",
        "2025",
        "2026",
    }
    assert not {place for each in objects for place in numbers(each, each["kind"])}


def numbers(part: Any, place: str) -> Iterator[str]:
    """The places of what is not text where only text belongs: names, namespaces, keys, labels and annotations."""
    named = {"name", "namespace", "secretName", "key", "path", "ingressClassName", "priorityClassName"}
    texts = {"labels", "annotations", "matchLabels", "matchNames", "resourceNames"}
    if isinstance(part, dict):
        for name, value in part.items():
            inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
            if (name in named and not isinstance(value, str)) or (
                name in texts and not all(isinstance(each, str) for each in inside)
            ):
                yield f"{place}.{name}"
            yield from numbers(value, f"{place}.{name}")
    elif isinstance(part, list):
        for each in part:
            yield from numbers(each, place)


def test_a_pool_that_is_there_by_default_can_be_left_out(helm: Helm) -> None:
    objects = helm.render({"executorPools": {"default": None, "x": {}}})
    assert [
        each["metadata"]["name"] for each in objects.of("Deployment") if "executor" in each["metadata"]["name"]
    ] == ["dt-durable-timer-executor-x"]


def paths(values: dict[str, Any], schema: dict[str, Any], before: str = "") -> list[str]:
    """The dotted paths of all values, as deep as the schema names them."""
    found = []
    for name, value in values.items():
        path = f"{before}{name}"
        found.append(path)
        part = property_of(schema, path)
        free = part.get("$ref", "") in {"#/$defs/resources", "#/$defs/settings", "#/$defs/strings"}
        if isinstance(value, dict) and value and not free:
            found += paths(value, schema, f"{path}.")
    return found
