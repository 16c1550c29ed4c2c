"""Custom resource definitions of other projects, as their Go modules carry them: pinned by version and hash."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple


class Package(NamedTuple):
    """A Go module, and the files of it that are needed."""

    module: str
    sum: str
    files: tuple[str, ...]


PACKAGES = (
    Package(
        "github.com/prometheus-operator/prometheus-operator@v0.85.0",
        "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
        (
            "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
            "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
        ),
    ),
    Package(
        "github.com/kedacore/keda/v2@v2.17.2",
        "h1:xlrcK5TKABJF9PebK79sgL07s/csGjL3H4m72OkZXxk=",
        ("config/crd/bases/keda.sh_scaledobjects.yaml",),
    ),
)


def foreign_definitions() -> list[Path] | None:
    """The files, downloaded once; None without Go.

    Raises:
        AssertionError: A module is not what was pinned.
    """
    go = shutil.which("go")
    if go is None:
        return None
    found = []
    for package in PACKAGES:
        done = subprocess.run(
            [go, "mod", "download", "-json", package.module], capture_output=True, text=True, timeout=180, check=False
        )
        said = json.loads(done.stdout or "{}")
        assert done.returncode == 0, said.get("Error") or done.stderr
        assert said["Sum"] == package.sum, package.module
        found += [Path(said["Dir"], file) for file in package.files]
    return found
