"""The most frequent creates read by typed decoding: an id, a time, a URL, a JSON payload, and nothing else.

What is made here is exactly what `reading.new_timer` makes of the same text, or nothing where that is not certain; the
latter then reads it anew, and words what is wrong.

That no name stands twice follows from lengths. The decoder keeps the last of several, and all that is written in more
than one way (escapes, `-0`, `1.0`) is written longest where it is not plain: so a text as long as the one made of the
values it was read as, blanks apart, has each name once.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Final

import msgspec
import orjson
from msgspec import UNSET, Raw, UnsetType
from uuid_utils import uuid7

from durable_timer.models import limits
from durable_timer.models.checks import check_callback_url, check_new_timer_id
from durable_timer.models.instants import parse_instant
from durable_timer.models.timer import NewTimer
from durable_timer.planning.fingerprint import plain_fingerprint
from durable_timer.planning.sharding import shard_of
from durable_timer_api.json_limits import require_within
from durable_timer_api.json_text import parse
from durable_timer_api.payloads import PayloadRules
from durable_timer_api.reading import BEGINNING, Surroundings

BATCH_MAX_BYTES: Final = 512 * 1024
"""Longer ones are read item by item: taking one apart must not hold up others."""

_ITEM_MAX_BYTES: Final = 128 * 1024
"""Longer timers are not read here, but where none has to wait for it."""

_PARSED_MAX_BYTES: Final = 32 * 1024
"""Longer payloads are not read here where that takes ten times as long: written unusually, nested, or full of floats."""

_POINTS_MAX: Final = 4000
"""Points in longer payloads that are read here: each may be a float, and those are read in Python."""

_BLANKS: Final = b" \t\n\r"
_SORTED: Final = orjson.OPT_SORT_KEYS
_FRAME: Final = len('{"executeAt":"","callbackUrl":""}')
_ID_FRAME: Final = len('"id":"",')
_PAYLOAD_FRAME: Final = len('"payload":,')
_BATCH_FRAME: Final = len('{"timers":[]}')

_REFUSALS: Final = (msgspec.DecodeError, ValueError, TypeError, RecursionError)
"""What decoders, encoders and checks raise; which of them it was, is for the thorough reading to say."""


class _Plain(msgspec.Struct, forbid_unknown_fields=True, gc=False, rename="camel"):
    execute_at: str
    callback_url: str
    id: str | UnsetType = UNSET
    payload: Raw | UnsetType = UNSET


class _Batch(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    timers: list[Raw]


def _float(text: str) -> float:
    """A number that is written as it would be written again. Raises: ValueError, where it is not."""
    value = float(text)
    if repr(value) != text or "e" in text or value.is_integer():
        raise ValueError(text)
    return value


_recent_instant: Final = lru_cache(maxsize=1024)(parse_instant)
"""Many timers of one batch have the same times."""

_KEPT_MAX: Final = 40
"""Characters; longer texts of times are not kept: a fraction may have any number of digits."""

_plain: Final = msgspec.json.Decoder(_Plain)
_batch: Final = msgspec.json.Decoder(_Batch)
_value: Final = msgspec.json.Decoder(float_hook=_float)


def plain_items(body: bytes) -> list[Raw] | None:
    """The texts of a batch's 1 to 1000 items; None for what is not certainly a batch in order."""
    if len(body) > BATCH_MAX_BYTES:
        return None
    try:
        items = _batch.decode(body).timers
    except _REFUSALS:
        return None
    if not 1 <= len(items) <= limits.ITEMS_MAX:
        return None
    frame = _BATCH_FRAME + len(items) - 1
    if len(body) != frame + sum(map(len, items)) and _dense(body) != frame + sum(map(_dense, items)):
        return None
    return items


def plain_timer(text: bytes | Raw, where: Surroundings) -> NewTimer | None:
    """The create that the text is; None where anything is wrong, unusual, or more than the plain fields."""
    if len(text) > _ITEM_MAX_BYTES:
        return None
    try:
        item = _plain.decode(text)
        timer_id = str(uuid7()) if item.id is UNSET else check_new_timer_id(item.id)
        url = check_callback_url(item.callback_url)
        execute_at = _instant(item.execute_at)
        content = None if item.payload is UNSET else bytes(item.payload)
        canonical = None if content is None else _canonical(content, where.payloads)
    except _REFUSALS:
        return None
    if execute_at == BEGINNING or execute_at > where.now + limits.FUTURE_MAX or not _is_once(text, item, content):
        return None
    return NewTimer(
        group_id=where.group_id,
        timer_id=timer_id,
        shard=shard_of(timer_id, where.shards),
        callback_url=url,
        fingerprint=plain_fingerprint(url, execute_at, canonical),
        execute_at=execute_at,
        payload=content,
        traceparent=where.traceparent,
    )


def _instant(text: str) -> datetime:
    return _recent_instant(text) if len(text) <= _KEPT_MAX else parse_instant(text)


def _is_once(text: bytes | Raw, item: _Plain, content: bytes | None) -> bool:
    """Whether each name stands once; id, time and URL are known to be ASCII without blanks."""
    frame = _FRAME + len(item.execute_at) + len(item.callback_url)
    if item.id is not UNSET:
        frame += _ID_FRAME + len(item.id)
    if content is None:
        return len(text) == frame or _dense(text) == frame
    frame += _PAYLOAD_FRAME
    return len(text) == frame + len(content) or _dense(text) == frame + _dense(content)


def _canonical(content: bytes, rules: PayloadRules) -> bytes:
    """The payload as fingerprints have it.

    Raises:
        ValueError: It breaks a rule, or would take too long to read.
    """
    if len(content) > rules.max_bytes:
        raise ValueError("too long for the group")
    value, canonical = _read_quickly(content) or _read_strictly(content)
    if not rules.allow(value, content):
        raise ValueError("against the group's rules")
    return canonical


def _read_quickly(content: bytes) -> tuple[object, bytes] | None:
    """A JSON text's value and canonical form.

    None where it breaks a rule, is not written as most would write it, or would take too long to read.
    """
    is_nested = content.count(b"[") + content.count(b"{") > limits.JSON_DEPTH_MAX
    if len(content) > _PARSED_MAX_BYTES and (is_nested or content.count(b".") > _POINTS_MAX):
        return None
    try:
        value = _value.decode(content)
        canonical = orjson.dumps(value, option=_SORTED)
        if is_nested:
            require_within(value, ())
    except _REFUSALS:
        return None
    if len(canonical) != len(content) and _dense(canonical) != _dense(content):
        return None
    return value, canonical


def _read_strictly(content: bytes) -> tuple[object, bytes]:
    """The same of any JSON text that is not too long. Raises: ValueError, for others."""
    if len(content) > _PARSED_MAX_BYTES:
        raise ValueError("too long")
    value = parse(content)
    return value, orjson.dumps(value, option=_SORTED)


def _dense(text: bytes | Raw) -> int:
    """How long the text is without blanks, those in strings not counted either."""
    return len(bytes(text).translate(None, _BLANKS))
