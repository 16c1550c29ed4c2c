"""HTTPS: a certificate and its key from files, and new ones as soon as the files change."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from durable_timer.errors import ConfigError

LOOK: Final = 30.0
"""Seconds between two looks whether a file has changed."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the certificate with its intermediates, and its private key without a passphrase."""

    certificate: Path
    key: Path


@asynccontextmanager
async def tls_context(files: TlsFiles) -> AsyncIterator[ssl.SSLContext]:
    """What a server accepts connections with until the block ends: TLS 1.2 or later.

    Connections made after the files changed, half a minute later at most, get the new certificate. Files that cannot be
    used then leave the old one in place, and are logged.

    Raises:
        ConfigError: The files cannot be read, or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        seen = _changed(files)
        _load(context, files)
    except OSError as error:
        raise ConfigError(f"http.tls_certificate {files.certificate}, http.tls_key {files.key}: {error}") from None
    task = asyncio.create_task(_follow(context, files, seen))
    try:
        yield context
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _follow(context: ssl.SSLContext, files: TlsFiles, seen: tuple[int, int]) -> None:
    while True:
        await asyncio.sleep(LOOK)
        try:
            now = _changed(files)
            if now != seen:
                _load(context, files)
                seen = now
                _log.info("serving with a new certificate", file=str(files.certificate))
        except OSError as error:
            _log.warning("the new certificate cannot be used, the old one stays", error=str(error))


def _load(context: ssl.SSLContext, files: TlsFiles) -> None:
    """Checks the pair apart before: a pair that does not fit would leave the context with half of it."""
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(files.certificate, files.key, password=_no_passphrase)
    context.load_cert_chain(files.certificate, files.key, password=_no_passphrase)


def _no_passphrase() -> str:
    """Keeps OpenSSL from asking for one at the terminal."""
    return ""


def _changed(files: TlsFiles) -> tuple[int, int]:
    return files.certificate.stat().st_mtime_ns, files.key.stat().st_mtime_ns
