"""A headless Chromium, driven over its DevTools protocol."""

import asyncio
import base64
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp

from tests.support.waiting import eventually

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--remote-debugging-port=0",
)  # fmt: skip
START_WITHIN = 30.0
MESSAGE_MAX = 64 * 1024 * 1024


def chromium() -> str | None:
    """The program, where there is one."""
    return next((path for path in map(shutil.which, PROGRAMS) if path is not None), None)


class Tab:
    """One page. `complaints` gathers what the browser logs as errors: refused by the policy, thrown by a script."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.complaints: list[str] = []
        self._socket = socket
        self._numbers = count(1)

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Raises: RuntimeError, when the browser refuses."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            message = await self._socket.receive_json()
            self._note(message)
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                return dict(message["result"])

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression of JavaScript, awaited where it is a promise."""
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    async def go(self, url: str, *, dark: bool = False, width: int = 1280, height: int = 900) -> None:
        """Opens a page in a window of that size."""
        for domain in ("Page", "Runtime", "Log"):
            await self.call(f"{domain}.enable")
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        await self.call("Emulation.setEmulatedMedia", features=scheme)
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        await self.call("Page.navigate", url=url)

    async def picture(self) -> bytes:
        """The page as PNG, as far as the window shows it."""
        answer = await self.call("Page.captureScreenshot", format="png")
        return base64.b64decode(answer["data"])

    def _note(self, message: dict[str, Any]) -> None:
        if message.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(str(message["params"]["exceptionDetails"]))
        entry = message.get("params", {}).get("entry", {})
        if message.get("method") == "Log.entryAdded" and entry.get("level") == "error":
            self.complaints.append(str(entry["text"]))


@asynccontextmanager
async def browsing(program: str) -> AsyncIterator[Tab]:
    """An empty tab of a browser of its own, until the block ends."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        process = await asyncio.create_subprocess_exec(
            program, *FLAGS, f"--user-data-dir={folder}", "about:blank",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            port = await eventually(lambda: _port(Path(folder)), START_WITHIN)
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                    (url,) = [tab["webSocketDebuggerUrl"] for tab in await answer.json() if tab["type"] == "page"]
                async with session.ws_connect(url, max_msg_size=MESSAGE_MAX) as socket:
                    yield Tab(socket)
        finally:
            process.terminate()
            await process.wait()


def _port(folder: Path) -> int | None:
    file = folder / "DevToolsActivePort"
    lines = file.read_text().split() if file.exists() else []
    return int(lines[0]) if lines else None
