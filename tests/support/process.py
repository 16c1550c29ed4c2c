"""The service as real processes: started on a free port, awaited until ready, ended by their pid."""

import contextlib
import http.client
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from tests.support.postgres import free_port
from tests.support.waiting import eventually_blocking

PROGRAM = Path(sys.executable).with_name("durable-timer")
READY_WITHIN = 20.0
STOP_WITHIN = 30.0


class ServiceProcess:
    """One `durable-timer COMMAND …` with `--listen` on a loopback port that stays the same over restarts.

    Used as a context manager, which starts it and ends it whatever happens. Settings in the environment of the test
    session do not reach it; what `environment` names does. All methods block: with a running event loop, call them by
    `asyncio.to_thread`.
    """

    def __init__(self, command: str, *arguments: str, log: Path, environment: Mapping[str, str] | None = None) -> None:
        self._port = free_port()
        self._command: Sequence[str] = [str(PROGRAM), command, "--listen", f"127.0.0.1:{self._port}", *arguments]
        self._log = log
        self._environment = _clean_environment() | dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        """The process's address, without a slash at the end."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """The process's id.

        Raises:
            RuntimeError: it was not started, or was ended here.
        """
        return self._running().pid

    @property
    def output(self) -> str:
        """What it wrote to stdout and stderr, over all its starts."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def start(self) -> None:
        """Starts the process, without waiting for it."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment
            )

    def wait_ready(self, within: float = READY_WITHIN) -> None:
        """Returns once `/readyz` answers 200.

        Raises:
            RuntimeError: the process ended instead; the message carries the end of its output.
            TimeoutError: it was not ready in time.
        """
        try:
            eventually_blocking(self._is_ready, within)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.output[-4000:]}") from None

    def signal(self, number: signal.Signals) -> None:
        """Sends the process a signal: SIGSTOP and SIGCONT pause it and let it go on."""
        self._running().send_signal(number)

    def stop(self, within: float = STOP_WITHIN) -> int:
        """Asks it to end by SIGTERM and returns its exit code.

        Raises:
            subprocess.TimeoutExpired: it did not end in time; it still runs.
        """
        process = self._running()
        process.terminate()
        code = process.wait(within)
        self._process = None
        return code

    def wait(self, within: float = STOP_WITHIN) -> int:
        """Returns the exit code of a process that ends by itself.

        Raises:
            subprocess.TimeoutExpired: it did not end in time; it still runs.
        """
        return self._running().wait(within)

    def kill(self) -> None:
        """Ends it by SIGKILL and returns once it is gone. Nothing when it does not run."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._process = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the process is not running")
        return self._process

    def _is_ready(self) -> bool:
        if (code := self._running().poll()) is not None:
            raise RuntimeError(f"{self._command} ended with {code}:\n{self.output[-4000:]}")
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=1)
        with contextlib.closing(connection):
            try:
                connection.request("GET", "/readyz")
                return connection.getresponse().status == http.HTTPStatus.OK
            except (OSError, http.client.HTTPException):
                return False


def _clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("DURABLE_TIMER_")}
