"""The checks of `make check`, so that `make test` proves them too."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("target", ["lint", "typecheck", "arrows"])
def test_check_finds_nothing(target: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        ["make", "--silent", target], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"make {target}\n{done.stdout[-6000:]}\n{done.stderr[-2000:]}"
