"""Kubeconfigs of the tests' own: by way of a proxy, or as a service account with just the rights that are named."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support.kubectl import Kubectl


def address(kubectl: Kubectl) -> tuple[str, int]:
    """Where the API server listens."""
    url = urlsplit(_view(kubectl)["clusters"][0]["cluster"]["server"])
    assert url.hostname is not None
    return url.hostname, url.port or 443


def by_way_of(port: int, kubectl: Kubectl, file: Path) -> Path:
    """The administrator's kubeconfig, through a proxy on a loopback port."""
    config = _view(kubectl)
    _redirect(config, port)
    file.write_text(json.dumps(config))
    return file


def account(
    kubectl: Kubectl,
    namespace: str,
    file: Path,
    rules: Sequence[Mapping[str, Any]],
    name: str = "tester",
    port: int | None = None,
) -> Path:
    """A kubeconfig with a token file beside it, of a new account that has these rights in the namespace and no others.

    `port` is a proxy's to go by way of.
    """
    subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    kubectl.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": name},
            "rules": list(rules),
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [subject],
        },
        namespace=namespace,
    )
    token = file.with_suffix(".token")
    token.write_text(kubectl("create", "token", name, "-n", namespace))
    config = _view(kubectl)
    config["users"] = [{"name": name, "user": {"tokenFile": str(token)}}]
    config["contexts"] = [
        {"name": "it", "context": {"cluster": config["clusters"][0]["name"], "user": name, "namespace": namespace}}
    ]
    config["current-context"] = "it"
    if port is not None:
        _redirect(config, port)
    file.write_text(json.dumps(config))
    return file


def _redirect(config: dict[str, Any], port: int) -> None:
    """Through a proxy on a loopback port, which the API server's certificate is good for, too."""
    config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{port}"


def _view(kubectl: Kubectl) -> dict[str, Any]:
    view: dict[str, Any] = json.loads(kubectl("config", "view", "--raw", "--minify", "-o", "json"))
    return view
