"""Helm for the tests of the chart; without it they are skipped."""

from pathlib import Path

import pytest

from docs.chart import find_helm
from tests.support.helm import Helm, Objects

HERE = Path(__file__).parent

FULL = {
    "stores": {
        "default": {"secretName": "timers-db", "tls": {"mode": "verify-full", "caSecretName": "db-ca"}},
        "reports-eu": {
            "secretName": "reports-db",
            "secretKey": "uri",
            "tls": {"mode": "verify-ca", "caConfigMapName": "reports-ca"},
        },
        "scratch": {"url": "postgresql://u:p@scratch/timers"},
    },
    "embedded": {"enabled": True, "password": "secret", "persistence": {"enabled": True}},
    "executor": {
        "secretNamespaces": [{"namespace": "team-a"}, {"namespace": "team-b", "names": ["webhook-key"]}],
        "autoscaling": {"hpa": {"enabled": True}},
    },
    "executorPools": {
        "default": {"replicas": 3, "settings": {"engine": {"slots": 2000}}},
        "reports": {"pool": "default", "store": "reports-eu", "autoscaling": {"hpa": {"enabled": False}}},
        "slow": {"autoscaling": {"hpa": {"enabled": False}, "keda": {"enabled": True}}},
    },
    "bridge": {
        "tls": {"secretName": "bridge-tls"},
        "ingress": {"enabled": True, "className": "nginx", "hosts": [{"host": "timers.example.com"}]},
        "autoscaling": {"enabled": True},
    },
    "networkPolicy": {"enabled": True, "restrictEgress": True, "bridgeFrom": [{"podSelector": {}}]},
    "metrics": {
        "serviceMonitor": {"enabled": True},
        "prometheusRule": {"enabled": True},
        "dashboards": {"enabled": True},
    },
    "priorityClass": {"create": True},
    "extraObjects": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-more"}},
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Namespace }}-text'}\n",
    ],
}
"""Every switch that can be on together."""


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    program = find_helm()
    if program is None:
        pytest.skip("needs Helm on the PATH, or named by HELM")
    return Helm(program, tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def plain(helm: Helm) -> Objects:
    """The chart with its defaults."""
    return helm.render()


@pytest.fixture(scope="session")
def full(helm: Helm) -> Objects:
    """The chart with everything on."""
    return helm.render(FULL)
