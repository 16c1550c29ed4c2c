"""The client against a real API server: who answers, who does not, and what each failure is called."""

import json
import time
from pathlib import Path

import pytest

from durable_timer.errors import (
    ConfigError,
    KubeConflict,
    KubeForbidden,
    KubeGone,
    KubeRejected,
    KubeUnavailable,
    KubeUndefined,
)
from durable_timer.kube.client import LEASE, OURS, SECRET, KubeClient, open_client
from durable_timer.models.resource import ResourceKind
from faults.proxy import Proxy
from tests.cluster.accounts import account
from tests.support.kubectl import Kubectl

GET_SECRETS = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}


async def test_what_is_not_there_is_none(client: KubeClient, namespace: str) -> None:
    assert await client.get(SECRET, namespace, "absent") is None
    assert await client.get(SECRET, "no-such-namespace", "absent") is None


async def test_two_creates_of_one_name_conflict(client: KubeClient, namespace: str) -> None:
    lease = {"metadata": {"name": "one"}, "spec": {}}
    await client.create(LEASE, namespace, lease)
    with pytest.raises(KubeConflict):
        await client.create(LEASE, namespace, lease)


async def test_a_write_over_anothers_conflicts(client: KubeClient, namespace: str) -> None:
    read = await client.create(LEASE, namespace, {"metadata": {"name": "one"}, "spec": {}})
    written = await client.replace(LEASE, namespace, {**read, "spec": {"holderIdentity": "me"}})
    assert written["spec"]["holderIdentity"] == "me"
    with pytest.raises(KubeConflict):
        await client.replace(LEASE, namespace, read)


async def test_a_write_to_what_was_deleted_is_refused(client: KubeClient, namespace: str, kubectl: Kubectl) -> None:
    read = await client.create(LEASE, namespace, {"metadata": {"name": "one"}, "spec": {}})
    kubectl("delete", "lease", "one", "-n", namespace)
    with pytest.raises((KubeConflict, KubeGone)):
        await client.replace(LEASE, namespace, read)
    assert await client.get(LEASE, namespace, "one") is None


async def test_what_is_invalid_is_rejected_with_the_servers_words(client: KubeClient, namespace: str) -> None:
    with pytest.raises(KubeRejected, match=r"spec\.leaseDurationSeconds"):
        await client.create(LEASE, namespace, {"metadata": {"name": "one"}, "spec": {"leaseDurationSeconds": -1}})


@pytest.mark.usefixtures("crds")
async def test_a_kind_that_is_not_served_does_not_make_its_objects_gone(
    client: KubeClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = OURS[ResourceKind.TIMER]._api_info
    monkeypatch.setattr(info, "plural", "timerz")
    with pytest.raises(KubeUndefined, match="404"):
        await client.get(OURS[ResourceKind.TIMER], namespace, "any")
    with pytest.raises(KubeUndefined, match="404"):
        await client.list(OURS[ResourceKind.TIMER], namespace)


async def test_what_an_account_may_not_do_is_forbidden(kubectl: Kubectl, namespace: str, tmp_path: Path) -> None:
    async with open_client(account(kubectl, namespace, tmp_path / "config", [GET_SECRETS])) as client:
        assert await client.get(SECRET, namespace, "absent") is None
        with pytest.raises(KubeForbidden, match='cannot get resource "secrets"'):
            await client.get(SECRET, "default", "any")
        with pytest.raises(KubeForbidden, match='cannot list resource "secrets"'):
            await client.list(SECRET, namespace)


async def test_a_token_that_was_exchanged_in_its_file_is_read_again(
    kubectl: Kubectl, namespace: str, tmp_path: Path
) -> None:
    config = account(kubectl, namespace, tmp_path / "config", [GET_SECRETS])
    token = tmp_path / "config.token"
    kubectl("create", "secret", "generic", "bound", "-n", namespace)
    bound = ["create", "token", "tester", "-n", namespace, "--bound-object-kind=Secret", "--bound-object-name=bound"]
    good = token.read_text()
    token.write_text(kubectl(*bound))
    async with open_client(config) as client:
        assert await client.get(SECRET, namespace, "absent") is None
        kubectl("delete", "secret", "bound", "-n", namespace)  # which ends the token's validity
        refused = await _refused(client, namespace)
        assert "401" in refused
        token.write_text(good)
        assert await client.get(SECRET, namespace, "absent") is None


async def _refused(client: KubeClient, namespace: str) -> str:
    """Asks until the API server has noticed that the token is no longer valid (it keeps answers for 10 s)."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            await client.get(SECRET, namespace, "absent")
        except KubeUnavailable as error:
            return str(error)
    return "never refused"


async def test_an_api_server_that_hangs_is_unavailable_when_the_time_is_over(
    proxied: tuple[Proxy, Path], namespace: str
) -> None:
    proxy, config = proxied
    async with open_client(config) as client:
        assert await client.get(SECRET, namespace, "absent") is None
        proxy.answers.shut()
        began = time.monotonic()
        with pytest.raises(KubeUnavailable, match="did not answer"):
            await client.get(SECRET, namespace, "absent", timeout=2.0)
        assert time.monotonic() - began < 10
        proxy.answers.open()
        assert await client.get(SECRET, namespace, "absent") is None


async def test_an_api_server_that_is_gone_is_unavailable(proxied: tuple[Proxy, Path], namespace: str) -> None:
    proxy, config = proxied
    async with open_client(config) as client:
        assert await client.get(SECRET, namespace, "absent") is None
        await proxy.stop()
        with pytest.raises(KubeUnavailable):
            await client.get(SECRET, namespace, "absent")
        with pytest.raises(KubeUnavailable):
            await client.list(SECRET, namespace)


async def test_a_pods_folder_serves_as_account(
    kubectl: Kubectl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")
    for name, text in {"token": "t", "namespace": "n"}.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match="no way to a Kubernetes API"):
        async with open_client(service_account=tmp_path):
            pass


async def test_without_a_way_the_words_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    with pytest.raises(ConfigError, match="set KUBECONFIG"):
        async with open_client():
            pass
    (tmp_path / "wrong").write_text(json.dumps({"clusters": []}))
    with pytest.raises(ConfigError, match="no way to a Kubernetes API"):
        async with open_client(tmp_path / "wrong"):
            pass
