"""A process that cannot start says why, in a line for people, and ends with its exit code."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import free_port
from tests.support.process import PROGRAM, ServiceProcess

GROUP = """\
apiVersion: durabletimer.dev/v1alpha1
kind: TimerGroup
metadata: {{name: {name}}}
spec: {{groupId: {group_id}, shards: {shards}}}
"""
USAGE, STORE, REFUSED = 2, 3, 4


def run(*arguments: str, folder: Path, prelude: str = "") -> subprocess.CompletedProcess[str]:
    command = [str(PROGRAM)]
    if prelude:
        command = [sys.executable, "-c", f"{prelude}; from durable_timer.cli import main; main()"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DURABLE_TIMER_")}
    return subprocess.run(
        [*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def refusal(code: int, *arguments: str, folder: Path, prelude: str = "") -> str:
    """What a command that has to fail says: every line is the program's own, none a traceback's."""
    result = run(*arguments, folder=folder, prelude=prelude)
    assert result.returncode == code, result
    lines = [line for line in result.stderr.splitlines() if "[info" not in line]
    assert lines, result
    assert all(line.startswith("durable-timer: ") for line in lines), result.stderr
    return "\n".join(lines)


def manifest(folder: Path, *, name: str = "orders", group_id: str = "orders", shards: int = 4) -> str:
    file = folder / f"{name}-{shards}.yaml"
    file.write_text(GROUP.format(name=name, group_id=group_id, shards=shards))
    return str(file)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://user:hunter2@host/db", "must begin with postgresql:// or sqlite://"),
        ("postgresql://user:hunter2@host", "names no database"),
        ("postgresql://user:hunter2@host:port/db", "is no URL"),
        ("sqlite://file", "names no file"),
        ("user:hunter2@host/db", "--store: must be a URL such as"),
    ],
)
def test_a_store_url_that_is_wrong(tmp_path: Path, url: str, said: str) -> None:
    message = refusal(USAGE, "standalone", "--store", url, "--listen", "127.0.0.1:0", folder=tmp_path)
    assert said in message
    assert "hunter2" not in message


@pytest.mark.parametrize("command", ["standalone", "migrate"])
def test_a_database_that_refuses_the_connection(tmp_path: Path, command: str) -> None:
    port = free_port()
    message = refusal(STORE, command, "--store", f"postgresql://user:hunter2@127.0.0.1:{port}/db", folder=tmp_path)
    assert str(port) in message
    assert "hunter2" not in message


def test_a_driver_that_is_not_installed_is_named_with_its_extra(tmp_path: Path) -> None:
    message = refusal(
        USAGE, "bridge", "--store", "postgresql://h/db", folder=tmp_path,
        prelude="import sys; sys.modules['asyncpg'] = None",
    )  # fmt: skip
    assert "pip install 'durable-timer[postgresql]'" in message


def test_a_sqlite_file_that_cannot_be_made(tmp_path: Path) -> None:
    assert "no/such/folder" in refusal(STORE, "standalone", "--store", "sqlite:///no/such/folder/x", folder=tmp_path)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[ServiceProcess]:
    """A standalone service on `timers.sqlite` with the group orders of 4 shards."""
    store = f"sqlite:///{tmp_path}/timers.sqlite"
    arguments = ("--store", store, "--groups", manifest(tmp_path))
    with ServiceProcess("standalone", *arguments, log=tmp_path / "log") as service:
        service.wait_ready()
        yield service


def test_a_second_process_on_one_sqlite_file(tmp_path: Path, running: ServiceProcess) -> None:
    for command in (["standalone"], ["groups", "list"], ["migrate"]):
        message = refusal(STORE, *command, "--store", "sqlite:///timers.sqlite", folder=tmp_path)
        assert f"timers.sqlite is in use by process {running.pid}" in message


def test_an_address_that_is_taken(tmp_path: Path, running: ServiceProcess) -> None:
    listen = running.url.removeprefix("http://")
    message = refusal(USAGE, "standalone", "--listen", listen, folder=tmp_path)
    assert f"--listen {listen}: the address is in use by another program" in message


def test_an_address_that_is_not_this_machines(tmp_path: Path) -> None:
    message = refusal(USAGE, "standalone", "--listen", "192.0.2.1:8080", folder=tmp_path)
    assert "192.0.2.1:8080: this machine has no such address" in message


@pytest.mark.parametrize(
    ("other", "field", "said"),
    [
        ({"shards": 8}, "spec.shards", "must be 4, which the group has in the store"),
        ({"name": "other"}, "spec.groupId", "belongs to 'file:orders'"),
    ],
)
def test_a_group_that_the_store_has_otherwise(tmp_path: Path, other: dict[str, object], field: str, said: str) -> None:
    assert run("groups", "apply", manifest(tmp_path), folder=tmp_path).returncode == 0
    file = manifest(tmp_path, **other)  # type: ignore[arg-type] # the table above is of the right types
    message = refusal(USAGE, "standalone", "--groups", file, folder=tmp_path)
    assert f"{file}:4: {field}" in message
    assert said in message


def test_a_manifest_that_is_wrong_is_named_by_file_line_and_field(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(GROUP.format(name="a", group_id="a", shards=0) + "  \n")
    assert f"{file}:4: spec.shards" in refusal(USAGE, "standalone", "--groups", str(file), folder=tmp_path)


def test_manifests_that_are_not_there(tmp_path: Path) -> None:
    assert "none.yaml" in refusal(USAGE, "bridge", "--groups", "none.yaml", folder=tmp_path)


def test_a_wrong_flag_is_told_with_the_usage(tmp_path: Path) -> None:
    result = run("standalone", "--listn", ":1", folder=tmp_path)
    assert result.returncode == USAGE
    assert "No such option" in result.stderr
    assert "--listen" in result.stderr


def test_a_wrong_setting_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("engine: {slots: 0}\n")
    message = refusal(USAGE, "executor", "--config", "c.yaml", folder=tmp_path)
    assert message == "durable-timer: c.yaml: engine.slots: must be at least 1, not '0'"


def test_nothing_is_left_behind_by_a_failed_start(tmp_path: Path) -> None:
    """The file's lock is free again, so the next start works."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        refusal(USAGE, "standalone", "--listen", listen, folder=tmp_path)
    assert run("groups", "list", folder=tmp_path).returncode == 0


def test_what_the_store_refuses_has_an_exit_code_of_its_own(tmp_path: Path) -> None:
    assert "no group 'nowhere'" in refusal(REFUSED, "groups", "purge", "nowhere", "--yes", folder=tmp_path)
    command = ("groups", "transfer", "nowhere", "--to", "file:me")
    assert "no group 'nowhere'" in refusal(REFUSED, *command, folder=tmp_path)
    unanswered = run("groups", "purge", "nowhere", folder=tmp_path)
    assert (unanswered.returncode, "Delete all timers" in unanswered.stdout) == (130, True)
