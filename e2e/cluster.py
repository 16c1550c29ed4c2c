"""The cluster that the tests run in, and the images that they need in it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from faults.disk import NotHere

ROOT: Final = Path(__file__).parents[1]
SCRIPTS: Final = ROOT.parent / "shared" / "cluster"
BASE: Final = "registry.local/python:3.11"
AUTHORITIES: Final = "/etc/ssl/certs/ca-certificates.crt"
BUILT_WITHIN: Final = 600.0

PRODUCT_FILES: Final = ("Dockerfile", "requirements-build.lock", "requirements-runtime.lock", "pyproject.toml", "README.md", "api.yaml", "operator", "api_bridge")  # fmt: skip
TOOL_FILES: Final = ("bench/__init__.py", "bench/wire.py", "e2e", "faults")


@dataclass(frozen=True, slots=True)
class Images:
    """The service's image, and that of PostgreSQL, the receiver and the client."""

    product: str
    tools: str


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster whose one node is this machine."""

    kubeconfig: Path

    @property
    def helm(self) -> str:
        """The program."""
        own = self.kubeconfig.parents[1] / "bin" / "helm"
        return str(own) if own.exists() else "helm"

    @property
    def runs(self) -> bool:
        """Whether its API server's process is there."""
        try:
            os.kill(int(self._api_server.read_text()), 0)
        except (OSError, ValueError):
            return False
        return True

    def kill_api_server(self) -> None:
        """kill -9; `up` starts another."""
        os.kill(int(self._api_server.read_text()), signal.SIGKILL)
        self._api_server.unlink()

    def up(self) -> None:
        """Starts what of it does not run, and returns when it is ready."""
        _call("up")

    def images(self) -> Images:
        """The images of this tree, built where the node does not have them."""
        product = _tag("durable-timer", PRODUCT_FILES)
        tools = _tag("durable-timer-e2e", (*PRODUCT_FILES, *TOOL_FILES))
        if not self._has(product):
            _call("base-image")
            _build(product, ROOT, BASE_IMAGE=BASE)
        if not self._has(tools):
            with tempfile.TemporaryDirectory(prefix="durable-timer-e2e-") as folder:
                _tool_context(Path(folder))
                _build(tools, Path(folder), BASE_IMAGE=BASE, PRODUCT_IMAGE=product)
        return Images(product, tools)

    @property
    def _api_server(self) -> Path:
        """The file with the API server's process id."""
        return self.kubeconfig.parent / "pids" / "apiserver"

    def _has(self, image: str) -> bool:
        socket = self.kubeconfig.parent / "containerd.sock"
        listed = subprocess.run(
            ["ctr", "--address", socket, "--namespace", "k8s.io", "images", "list", "--quiet"],
            check=True,
            capture_output=True,
            text=True,
        )
        return image in listed.stdout.split()


@contextlib.contextmanager
def cluster() -> Iterator[Cluster]:
    """The cluster of `../shared/cluster`, ended afterwards if it did not run before.

    Raises:
        NotHere: there is none, or KUBECONFIG names another, whose nodes' processes are not this machine's.
    """
    if os.geteuid() != 0 or not (SCRIPTS / "up").exists():
        raise NotHere(f"{SCRIPTS / 'up'} is not there, or this is not root")
    given = os.environ.get("KUBECONFIG")
    environment = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}
    command = f". {SCRIPTS}/env.sh && echo $KUBECONFIG"
    named = subprocess.run(["bash", "-c", command], check=True, capture_output=True, text=True, env=environment)
    found = Cluster(Path(named.stdout.strip()))
    if given and Path(given) != found.kubeconfig:
        raise NotHere("KUBECONFIG names a cluster whose nodes' processes cannot be killed from here")
    ran = found.runs
    found.up()
    try:
        yield found
    finally:
        if not ran:
            _call("down")


def _call(script: str, *words: str | Path) -> None:
    """Raises RuntimeError with the end of what it wrote."""
    command = [SCRIPTS / script, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=BUILT_WITHIN, check=False)
    if done.returncode:
        raise RuntimeError(f"{script} failed:\n{done.stderr[-3000:]}")


def _build(image: str, folder: Path, **arguments: str) -> None:
    """Builds and loads an image; packages come from where this machine gets them, by the authorities that it trusts."""
    trusted = {"PIP_CERT": AUTHORITIES} | {name: os.environ[name] for name in ("PIP_INDEX_URL",) if name in os.environ}
    words = [word for name, value in {**arguments, **trusted}.items() for word in ("--build-arg", f"{name}={value}")]
    _call("build-image", image, folder, "--layers", "--volume", f"{AUTHORITIES}:{AUTHORITIES}:ro", *words)


def _tag(name: str, parts: tuple[str, ...]) -> str:
    """An image's name, with what it is made of as its tag."""
    found = hashlib.sha256()
    for file in sorted(file for part in parts for file in _files(ROOT / part)):
        found.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes() + b"\0")
    return f"registry.local/{name}:{found.hexdigest()[:12]}"


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    else:
        yield from (file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)


def _tool_context(folder: Path) -> None:
    """What `e2e/Dockerfile` needs: the tools' code, and the one line of the lock that names PostgreSQL."""
    for part in TOOL_FILES:
        for file in _files(ROOT / part):
            copy = folder / "code" / file.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)
    shutil.copy(ROOT / "e2e" / "Dockerfile", folder)
    lock = (ROOT / "requirements.lock").read_text()
    _, name, rest = lock.partition("\npixeltable-pgserver==")
    (folder / "postgresql.lock").write_text(name.lstrip() + rest.partition("\n    #")[0] + "\n")
