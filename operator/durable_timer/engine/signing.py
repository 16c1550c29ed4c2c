"""Signatures of callbacks: Standard Webhooks 1.0, symmetric (https://github.com/standard-webhooks/standard-webhooks)."""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Final

PREFIX: Final = b"whsec_"
"""What precedes a key in base64; a Secret without it is the key itself."""


def signing_key(secret: bytes) -> bytes:
    """The key in a Secret's value: base64 after `whsec_`, else the bytes as they are (white space around them left out)."""
    value = secret.strip()
    if not value.startswith(PREFIX):
        return value
    try:
        return b64decode(value[len(PREFIX) :], validate=True)
    except binascii.Error:
        return value


def signature(keys: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` header: `v1,` and the HMAC-SHA256 of `id.timestamp.body` in base64, one for each key."""
    signed = b"%b.%d.%b" % (message_id.encode(), timestamp, body)
    return " ".join(f"v1,{b64encode(hmac.digest(key, signed, 'sha256')).decode()}" for key in keys)
