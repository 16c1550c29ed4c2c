"""Page tokens: where a list goes on, and the filter it goes on under. Opaque to clients, not secret, not signed."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Final, TypeGuard

import orjson

from durable_timer.models.checks import check_timer_id
from durable_timer.models.page import ListOrder, Position, TimerFilter
from durable_timer_api.problems import Code, Problem

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_TOKEN_MAX: Final = 1024
_HASH_SIZE: Final = 8
_PARTS: Final = 4


def filter_hash(verb: str, group_id: str, where: TimerFilter) -> str:
    """What a token is bound to: what is asked of which group, and by which filter."""
    canonical = (
        verb, group_id, sorted(where.states), where.due_from, where.due_before, where.id_prefix, sorted(where.labels),
    )  # fmt: skip
    return blake2b(orjson.dumps(canonical), digest_size=_HASH_SIZE).hexdigest()


def page_token(bound_to: str, position: Position, begun: datetime | None = None) -> str:
    """A token that goes on after `position`; `begun` is the store's time of the first request, where it matters."""
    parts = (bound_to, _micros(position.at), position.timer_id, _micros(begun))
    return urlsafe_b64encode(orjson.dumps(parts)).rstrip(b"=").decode()


def read_page_token(token: str, bound_to: str, order: ListOrder) -> tuple[Position, datetime | None]:
    """The position, which fits `order`, and `begun` of a token.

    Raises:
        Problem: INVALID_PAGE_TOKEN, when it is not one of ours or is bound to something else.
    """
    parts = _parts(token)
    if not _is_ours(parts):
        raise _foreign()
    bound, at, timer_id, begun = parts
    if bound != bound_to:
        raise Problem(Code.INVALID_PAGE_TOKEN, "the page token belongs to another filter")
    try:
        position = Position(_instant(at), check_timer_id(timer_id))
        if (position.at is None) != (order is ListOrder.BY_ID):
            raise _foreign()
        return position, _instant(begun)
    except (OverflowError, ValueError):
        raise _foreign() from None


def _foreign() -> Problem:
    return Problem(Code.INVALID_PAGE_TOKEN, "the page token is not one of this service")


def _parts(token: str) -> object:
    if len(token) > _TOKEN_MAX:
        return None
    try:
        return orjson.loads(urlsafe_b64decode(token.encode() + b"=" * (-len(token) % 4)))
    except (binascii.Error, UnicodeEncodeError, orjson.JSONDecodeError):
        return None


def _is_ours(parts: object) -> TypeGuard[tuple[str, int | None, str, int | None]]:
    return (
        isinstance(parts, list)
        and len(parts) == _PARTS
        and isinstance(parts[0], str)
        and isinstance(parts[2], str)
        and all(part is None or type(part) is int for part in (parts[1], parts[3]))
    )


def _micros(instant: datetime | None) -> int | None:
    return None if instant is None else (instant - _EPOCH) // _MICROSECOND


def _instant(micros: int | None) -> datetime | None:
    return None if micros is None else _EPOCH + timedelta(microseconds=micros)
