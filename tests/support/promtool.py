"""Prometheus' `promtool`: the one installed here, or one built by Go from Prometheus' module, once for all sessions."""

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

VERSION = "v0.314.0"
PACKAGE = "github.com/prometheus/prometheus/cmd/promtool"
TAGS = "remove_all_sd,netgo"
"""Without service discovery, which is most of what there is to compile."""

BUILD_WITHIN = 900.0


def promtool() -> Path | None:
    """The program. None where neither it nor Go is there, or where Go cannot get the module."""
    installed = shutil.which("promtool")
    if installed is not None:
        return Path(installed)
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "durable-timer"
    built = cache / f"promtool-{VERSION}"
    if not built.exists():
        _build(built)
    return built if built.exists() else None


def _build(program: Path) -> None:
    """Its dependencies are those that Prometheus' go.mod names, held against Go's checksum database."""
    go = shutil.which("go")
    if go is None:
        return
    program.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=program.parent) as folder:
        (Path(folder) / "go.mod").write_text("module durabletimer.dev/promtool\n\ngo 1.25\n")
        for arguments in (
            ("get", f"{PACKAGE}@{VERSION}"),
            ("build", "-tags", TAGS, "-ldflags", "-s -w", "-o", "promtool", PACKAGE),
        ):
            done = subprocess.run(
                [go, *arguments], cwd=folder, env={**os.environ, "CGO_ENABLED": "0"}, capture_output=True,
                timeout=BUILD_WITHIN, check=False,
            )  # fmt: skip
            if done.returncode != 0:
                return
        (Path(folder) / "promtool").rename(program)
