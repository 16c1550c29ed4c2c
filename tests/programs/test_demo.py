"""`make run`, from its first line to Ctrl-C."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.programs.client import Client
from tests.support.postgres import free_port
from tests.support.waiting import eventually_blocking

WITHIN = 40.0


class Demo:
    """The demo as a process on a port and a database of its own."""

    def __init__(self, folder: Path, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._log = folder / "demo.log"
        environment = {
            "DURABLE_TIMER_LISTEN": f"127.0.0.1:{port}",
            "DURABLE_TIMER_STORE": f"sqlite:///{folder}/demo.sqlite",
        }
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "durable_timer.demo"], stdout=log, stderr=log, env=os.environ | environment
            )

    @property
    def output(self) -> str:
        return self._log.read_text()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    demo = Demo(tmp_path, free_port())
    yield demo
    demo.end()


def test_callbacks_are_shown_then_a_curl_that_works_then_it_stops_cleanly(demo: Demo) -> None:
    eventually_blocking(lambda: "The service runs until Ctrl-C." in demo.output, WITHIN)
    said = demo.output
    assert re.search(r"^  \d\d:\d\d:\d\d\.\d{3}  hello +\d+\.\d ms late  Hello", said, re.MULTILINE), said
    assert re.search(r"retried +answered 503", said), said
    assert re.search(r"retried +attempt 2", said), said
    assert re.search(r"past +at once", said), said
    command = said[said.index("  curl ") : said.index("The service runs")].replace("\\\n", " ")
    address, body = re.fullmatch(r"curl -sS (\S+) -H .* -d (.+)", " ".join(command.split())).groups()  # type: ignore[union-attr] # None fails the test
    answer = Client(demo.url).request("POST", address.removeprefix(demo.url), json.loads(shlex.split(body)[0]))
    assert answer.status == 201
    eventually_blocking(lambda: "made by hand" in demo.output.rpartition("until Ctrl-C")[2], WITHIN)
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(WITHIN) == 0
    assert "Stopped." in demo.output
    assert "Traceback" not in demo.output


def test_a_port_that_is_taken_is_told_in_a_line(demo: Demo, tmp_path: Path) -> None:
    eventually_blocking(lambda: "Durable Timer serves" in demo.output, WITHIN)
    folder = tmp_path / "second"
    folder.mkdir()
    second = Demo(folder, int(demo.url.rpartition(":")[2]))
    assert second.process.wait(WITHIN) == 2
    assert "the address is in use by another program" in second.output
    assert "make run" in second.output
    assert "Traceback" not in second.output


def test_it_is_run_from_the_checkout(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "durable_timer.demo"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 2
    assert "examples/timergroup.yaml is not here" in result.stderr
