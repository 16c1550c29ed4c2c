"""The service as processes, shown with a program that knows only `--listen`, `/readyz` and how to end."""

import sys
from pathlib import Path

import pytest

from tests.support import process
from tests.support.postgres import runs
from tests.support.process import ServiceProcess

STUB = f"""#!{sys.executable}
import http.server, os, signal, sys
if sys.argv[1] == "broken":
    sys.exit("no such store")
print("settings", sorted(name for name in os.environ if name.startswith("DURABLE_TIMER_")), flush=True)
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()
host, _, port = sys.argv[sys.argv.index("--listen") + 1].partition(":")
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
http.server.HTTPServer((host, int(port)), Ready).serve_forever()
"""


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "durable-timer"
    program.write_text(STUB)
    program.chmod(0o755)
    monkeypatch.setattr(process, "PROGRAM", program)
    return tmp_path / "log"


def test_it_is_ready_stops_and_starts_again_on_the_same_url(log: Path) -> None:
    with ServiceProcess("standalone", log=log) as service:
        url = service.url
        service.wait_ready()
        assert service.stop() == 7
        service.start()
        service.wait_ready()
        assert service.url == url


def test_nothing_is_left_of_it_when_a_test_fails(log: Path) -> None:
    service = ServiceProcess("standalone", log=log)

    def fail() -> None:
        with service:
            service.wait_ready()
            pids.append(service.pid)
            raise ZeroDivisionError

    pids: list[int] = []
    with pytest.raises(ZeroDivisionError):
        fail()
    assert not runs(pids[0])


def test_a_process_that_ends_instead_says_why(log: Path) -> None:
    with (
        ServiceProcess("broken", log=log) as service,
        pytest.raises(RuntimeError, match=r"(?s)ended with 1.*no such store"),
    ):
        service.wait_ready()


def test_only_the_settings_of_the_test_reach_it(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURABLE_TIMER_STORE", "sqlite:///elsewhere")
    with ServiceProcess("standalone", log=log, environment={"DURABLE_TIMER_GROUPS": "groups"}) as service:
        service.wait_ready()
        assert "settings ['DURABLE_TIMER_GROUPS']" in service.output
