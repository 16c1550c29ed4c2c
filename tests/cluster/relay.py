"""A door to the API server that counts what comes through it: requests by method and path, over plain HTTP."""

import asyncio
import re
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

REQUEST: Final = re.compile(rb"^(GET|PUT|PATCH|POST|DELETE) (\S+) HTTP/1", re.MULTILINE)
PIECE: Final = 1 << 16


class Relay:
    """Passes everything on to `kubectl proxy`, whose own credentials the API server sees."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []

    def writes(self) -> list[tuple[str, str]]:
        """Method and path of each request that is not a read."""
        return [one for one in self.requests if one[0] != "GET"]

    async def serve(self, upstream: int, tell_port: Future[int], stop: Future[None]) -> None:
        """Serves on a free loopback port, which it tells, until `stop` is done."""
        async with asyncio.TaskGroup() as connections:

            async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                carried.add(connections.create_task(self._carry_both(reader, writer, upstream)))

            carried: set[asyncio.Task[None]] = set()
            server = await asyncio.start_server(connected, "127.0.0.1", 0)
            tell_port.set_result(server.sockets[0].getsockname()[1])
            await asyncio.wrap_future(stop)
            server.close()
            for task in carried:
                task.cancel()

    async def _carry_both(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: int) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", upstream)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry(reader, far_writer, count=True))
                group.create_task(self._carry(far_reader, writer, count=False))
        finally:
            writer.close()
            far_writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, count: bool) -> None:
        with suppress(OSError):
            while piece := await reader.read(PIECE):
                if count:
                    found = REQUEST.findall(piece)
                    self.requests += [(method.decode(), path.decode()) for method, path in found]
                writer.write(piece)
                await writer.drain()
        writer.close()


@contextmanager
def counted(kubeconfig: Path, folder: Path) -> Iterator[tuple[Relay, Path]]:
    """A relay, and the kubeconfig that leads through it, until the block ends."""
    command = ["kubectl", "--kubeconfig", str(kubeconfig), "proxy", "--port=0"]
    relay = Relay()
    port: Future[int] = Future()
    stop: Future[None] = Future()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as proxy:
        assert proxy.stdout is not None
        upstream = int(proxy.stdout.readline().rpartition(":")[2])
        serving = threading.Thread(target=lambda: asyncio.run(relay.serve(upstream, port, stop)))
        serving.start()
        try:
            yield relay, _kubeconfig(folder / "relay.yaml", port.result(timeout=10))
        finally:
            stop.set_result(None)
            serving.join()
            proxy.terminate()


def _kubeconfig(path: Path, port: int) -> Path:
    path.write_text(
        f"""\
apiVersion: v1
kind: Config
current-context: relay
contexts: [{{name: relay, context: {{cluster: relay, user: relay}}}}]
clusters: [{{name: relay, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
users: [{{name: relay, user: {{}}}}]
"""
    )
    return path
