"""HTTPS: a certificate that is renewed while requests come, and files that cannot be used."""

import os
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, TCPConnector, web

from durable_timer.errors import ConfigError
from durable_timer_api import tls
from durable_timer_api.app import serve
from durable_timer_api.settings import BridgeSettings
from durable_timer_api.tls import TlsFiles
from tests.support.waiting import eventually

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make certificates")


def make(folder: Path, name: str) -> TlsFiles:
    """A self-signed certificate of that name for 127.0.0.1."""
    files = TlsFiles(folder / f"{name}.crt", folder / f"{name}.key")
    subject = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         *subject, "-keyout", str(files.key), "-out", str(files.certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    return files


def put(source: TlsFiles, target: TlsFiles, *, time: int) -> None:
    """Copies a pair over another, changed at `time`."""
    for old, new in ((source.certificate, target.certificate), (source.key, target.key)):
        shutil.copyfile(old, new)
        os.utime(new, (time, time))


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with ClientSession(connector=TCPConnector(force_close=True)) as made:
        yield made


async def answer(session: ClientSession, port: int, trusted: TlsFiles) -> str | None:
    """What is answered to who trusts that certificate alone; None where it is not the one served."""
    context = ssl.create_default_context(cafile=str(trusted.certificate))
    try:
        async with session.get(f"https://127.0.0.1:{port}/", ssl=context) as response:
            return await response.text()
    except OSError:
        return None


def application() -> web.Application:
    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/", hello)
    return app


async def test_a_renewed_certificate_is_served(
    tmp_path: Path, session: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "LOOK", 0.02)
    first, second, used = make(tmp_path, "first"), make(tmp_path, "second"), make(tmp_path, "used")
    put(first, used, time=1_000)
    async with serve(application(), "127.0.0.1", 0, BridgeSettings(tls=used)) as port:
        assert await answer(session, port, first) == "hello"
        put(second, used, time=2_000)

        async def renewed() -> bool:
            return await answer(session, port, second) == "hello"

        await eventually(renewed)
        used.key.write_text("broken")
        assert await answer(session, port, second) == "hello"


@pytest.mark.parametrize("broken", ["missing", "of another", "no key"])
async def test_files_that_cannot_be_used_are_named(tmp_path: Path, broken: str) -> None:
    files = make(tmp_path, "one")
    match broken:
        case "missing":
            files.key.unlink()
        case "of another":
            shutil.copyfile(make(tmp_path, "other").key, files.key)
        case _:
            files.key.write_text("broken")
    with pytest.raises(ConfigError, match="tls_key"):
        async with serve(application(), "127.0.0.1", 0, BridgeSettings(tls=files)):
            pass
