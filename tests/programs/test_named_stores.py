"""Several stores by name: in one bridge, in the settings, and shown without their passwords."""

import time
from http import HTTPStatus
from itertools import chain
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from click.testing import CliRunner

from durable_timer.cli import cli
from durable_timer.cli.exits import ExitCode
from durable_timer.config import load
from durable_timer.errors import ConfigError
from faults.loop import Loop
from faults.proxy import Proxy
from tests.programs.client import Client
from tests.support.process import ServiceProcess
from tests.support.waiting import eventually_blocking

URL = "postgresql://timers:hunter2@eu/timers"


def manifest(name: str, store: str) -> str:
    return f"apiVersion: durabletimer.dev/v1alpha1\nkind: TimerGroup\nmetadata: {{name: {name}}}\nspec: {{store: {store}}}\n"


def test_one_bridge_serves_the_groups_of_all_its_stores(tmp_path: Path) -> None:
    groups = tmp_path / "groups.yaml"
    groups.write_text(f"{manifest('here', 'default')}---\n{manifest('there', 'eu')}")
    stores = ("--store", f"sqlite:///{tmp_path}/a.sqlite", "--set", f"stores.eu=sqlite:///{tmp_path}/b.sqlite")
    with ServiceProcess("bridge", *stores, "--groups", str(groups), log=tmp_path / "log") as bridge:
        bridge.wait_ready()
        for name in ("here", "there"):
            made = Client(bridge.url).create(name, id="t", delay="1h", callbackUrl="http://192.0.2.1/")
            assert made["groupId"] == name
    assert all((tmp_path / name).stat().st_size for name in ("a.sqlite", "b.sqlite"))


@pytest.mark.postgresql
def test_a_store_that_does_not_answer_keeps_a_bridge_from_serving_none_of_the_others(
    tmp_path: Path, postgres_url: str
) -> None:
    (tmp_path / "groups.yaml").write_text(manifest("here", "default"))
    (tmp_path / "others.yaml").write_text(manifest("there", "default"))
    server = urlsplit(postgres_url)
    with Loop() as loop:
        proxy = Proxy(server.hostname or "", server.port or 5432)
        loop.call(proxy.answers.shut)
        away = server._replace(netloc=f"{server.username}@127.0.0.1:{loop.do(proxy.start())}").geturl()
        stores = ("--store", f"sqlite:///{tmp_path}/a.sqlite", "--set", f"stores.eu={away}")
        groups = ("--groups", str(tmp_path / "groups.yaml"))
        with ServiceProcess("bridge", *stores, *groups, log=tmp_path / "log") as bridge:
            bridge.wait_ready()
            client = Client(bridge.url)
            checks = client.get("/readyz").body["checks"]
            assert (checks["store:default"], checks["store:eu"] != "ok") == ("ok", True)
            until = time.monotonic() + 5
            while time.monotonic() < until:
                assert client.get("/api/v1/groups/here/timers").status == HTTPStatus.OK
            assert client.get("/api/v1/groups/there/timers").status == HTTPStatus.SERVICE_UNAVAILABLE
            loop.call(proxy.answers.open)
            eventually_blocking(lambda: client.get("/readyz").body["checks"]["store:eu"] == "ok")
            others = ("--store", postgres_url, "--groups", str(tmp_path / "others.yaml"))
            with ServiceProcess("executor", *others, log=tmp_path / "executor") as executor:
                executor.wait_ready()
            assert client.get("/api/v1/groups/there/timers").status == HTTPStatus.OK
        loop.do(proxy.stop())


def test_a_bridge_none_of_whose_stores_answers_does_not_start(tmp_path: Path) -> None:
    stores = [("--set", f"stores.{name}=postgresql://nobody@127.0.0.1:1/{name}") for name in ("eu", "us")]
    with ServiceProcess("bridge", *chain(*stores), log=tmp_path / "log") as bridge:
        assert bridge.wait() == ExitCode.STORE
    assert "postgresql://nobody@127.0.0.1:1/" in bridge.output


def test_a_manifest_that_names_a_store_of_others_is_refused(tmp_path: Path) -> None:
    groups = tmp_path / "groups.yaml"
    groups.write_text(manifest("there", "nowhere"))
    store = ("--store", f"sqlite:///{tmp_path}/a.sqlite", "--set", f"stores.eu=sqlite:///{tmp_path}/b.sqlite")
    with ServiceProcess("bridge", *store, "--groups", str(groups), log=tmp_path / "log") as bridge:
        assert bridge.wait() == 2
    assert "must be 'default' or 'eu'" in bridge.output


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        ({}, ["default"]),
        ({"store": "sqlite:///x"}, ["default"]),
        ({"stores.eu": URL}, ["eu"]),
        ({"stores.eu": URL, "store": "sqlite:///x"}, ["default", "eu"]),
        ({"stores.eu": URL, "stores.default": "sqlite:///x"}, ["eu", "default"]),
    ],
)
def test_the_stores_that_are_served(flags: dict[str, str], names: list[str]) -> None:
    assert list(load(None, flags).named_stores) == names


def test_stores_come_from_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURABLE_TIMER_STORES__EU", URL)
    monkeypatch.setenv("DURABLE_TIMER_STORES", '{"far-east": "sqlite:///far"}')
    assert load(None, {}).named_stores == {"far-east": "sqlite:///far", "eu": URL}


def test_a_wrong_one_is_named_and_never_repeated() -> None:
    with pytest.raises(ConfigError) as refused:
        load(None, {"stores.eu": "hunter2", "stores.Not_A_Label": URL})
    assert "--set stores.eu: must be a URL" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_two_names_for_one_database_are_refused() -> None:
    """The groups of one would be ended as those of a former store of the other."""
    with pytest.raises(ConfigError, match=r"stores\.us must be another database than that of 'eu'") as refused:
        load(None, {"stores.eu": URL, "stores.us": URL.replace("hunter2", "hunter3") + "?sslmode=require"})
    assert "hunter" not in str(refused.value)


def test_passwords_are_not_shown() -> None:
    shown = CliRunner().invoke(cli, ["config", "show", "--set", f"stores.eu={URL}"]).output
    assert yaml.safe_load(shown)["stores"] == {"eu": "postgresql://timers:***@eu/timers"}


def test_an_operator_refuses_a_store_that_one_process_keeps_to_itself(tmp_path: Path) -> None:
    with ServiceProcess("operator", "--store", f"sqlite:///{tmp_path}/a.sqlite", log=tmp_path / "log") as operator:
        assert operator.wait() == 2
    assert "not SQLite" in operator.output
