"""Schemathesis against a live bridge: whatever it sends, what comes back is as api.yaml says."""

import asyncio
import os
import sys
from pathlib import Path

from tests.api.support import Bridge

ROOT = Path(__file__).parents[2]
EXAMPLES = "5"
"""Random requests for each operation and phase, beside those that cover every rule of the contract."""

SECONDS = 120


async def test_no_request_breaks_the_contract(durable_bridge: Bridge) -> None:
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("st"),
        "--config-file",
        ROOT / "tests/api/schemathesis.toml",
        "run",
        f"{durable_bridge.url}/api.yaml",
        f"--max-examples={EXAMPLES}",
        "--generation-database=none",
        "--seed=20260301",
        "--no-color",
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(SECONDS):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, output.decode()
