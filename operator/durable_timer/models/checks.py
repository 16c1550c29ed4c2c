"""Rules for the texts of a timer that REST and resources share: ids, URLs, headers, labels, media types.

Each `check_…` returns its argument unchanged, or raises a `ValueError` whose message says the rule.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from durable_timer.models import limits

RESERVED_ID_PREFIX: Final = "k8s:"
"""Ids of timers that are declared as resources begin so."""

JSON_MEDIA_TYPE: Final = "application/json"
"""What a payload without a content type is."""

BYTES_MEDIA_TYPE: Final = "application/octet-stream"
"""What a payload of bytes without a content type is."""

MEDIA_TYPE_MAX: Final = 255
"""Characters of a media type."""

_TIMER_ID: Final = re.compile(r"[A-Za-z0-9._~:@-]{1,255}", re.ASCII)
_URL: Final = re.compile(
    r"https?://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?(?:[/?#][!-~]*)?", re.ASCII | re.IGNORECASE
)
_PORT_MAX: Final = 65_535
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_HOST_LABEL_MAX: Final = 63
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_HEADER_VALUE: Final = re.compile(r"(?:[!-~](?:[ \t!-~]*[!-~])?)?", re.ASCII)
_MEDIA_TYPE: Final = re.compile(
    r"([a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+)(?:[ \t]*;[ \t]*[!-~]+=(?:[!-~]+|\"[ !-~]*\"))*", re.ASCII | re.IGNORECASE
)
_LABEL_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", re.ASCII)
_SUBDOMAIN: Final = re.compile(
    r"(?=.{1,253}/)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*/", re.ASCII
)
REFUSED_HEADERS: Final = frozenset({
    "connection", "content-length", "content-type", "expect", "host", "keep-alive", "proxy-authenticate",
    "proxy-authorization", "proxy-connection", "te", "traceparent", "tracestate", "trailer", "transfer-encoding",
    "upgrade",
})  # fmt: skip
"""Headers that the service sets itself, or that belong to one connection."""

REFUSED_PREFIXES: Final = ("webhook-", "durable-timer-", "ce-")
"""How the names of the service's other headers begin."""


def check_timer_id(timer_id: str) -> str:
    """A timer's id, of a resource or not."""
    if _TIMER_ID.fullmatch(timer_id) is None or timer_id in {".", ".."}:
        raise ValueError("must be 1 to 255 of A-Z a-z 0-9 . _ ~ : @ -, and not . or ..")
    return timer_id


def check_new_timer_id(timer_id: str) -> str:
    """An id that a client gives to a timer of its own."""
    if timer_id.startswith(RESERVED_ID_PREFIX):
        raise ValueError(f"must not begin with {RESERVED_ID_PREFIX}, which is reserved for Timer resources")
    return check_timer_id(timer_id)


@lru_cache(maxsize=1024)
def check_callback_url(url: str) -> str:
    """An http or https URL with a host, without credentials."""
    if len(url) > limits.CALLBACK_URL_MAX:
        raise ValueError(f"must have at most {limits.CALLBACK_URL_MAX} characters, has {len(url)}")
    match = _URL.fullmatch(url)
    if match is None:
        raise ValueError(_why_no_url(url))
    host, port = match.groups()
    if port is not None and not 1 <= int(port) <= _PORT_MAX:
        raise ValueError(f"must have a port from 1 to {_PORT_MAX}")
    if not _is_host(host):
        raise ValueError("must name a host: a name, an IPv4 or a bracketed IPv6 address")
    return url


def _why_no_url(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in {"http", "https"}:
        return "must be an http or https URL"
    authority = re.split(r"[/?#\\]", rest, maxsplit=1)[0]
    if "@" in authority:
        return "must not carry credentials; use headers"
    if not authority or authority.startswith(":"):
        return "must name a host"
    return "must be a URL of printable ASCII characters, other ones percent-encoded (in the host: punycode)"


def _is_host(host: str) -> bool:
    """Whether all that read URLs take the host for the same; one that ends in a number is an IPv4 address (WHATWG)."""
    try:
        if host.startswith("["):
            IPv6Address(host[1:-1])
            return True
        if ends_in_a_number(host):
            IPv4Address(host)
        return all(map(_is_label, host.removesuffix(".").lower().split(".")))
    except ValueError:
        return False


def ends_in_a_number(host: str) -> bool:
    """Whether URL parsers take the host for an IPv4 address (https://url.spec.whatwg.org/#ends-in-a-number-checker)."""
    return _NUMBER.fullmatch(host.removesuffix(".").rpartition(".")[2].lower()) is not None


def _is_label(label: str) -> bool:
    if not 1 <= len(label) <= _HOST_LABEL_MAX:
        return False
    if not label.startswith("xn--"):
        return True
    decoded = label[4:].encode().decode("punycode")
    return not decoded.isascii() and decoded.isprintable()


def check_header_name(name: str) -> str:
    """A header that a timer may set on its callbacks."""
    if len(name) > limits.HEADER_NAME_MAX or _TOKEN.fullmatch(name) is None:
        raise ValueError(f"must be a header name (RFC 9110) of at most {limits.HEADER_NAME_MAX} characters")
    lowered = name.lower()
    if lowered in REFUSED_HEADERS or lowered.startswith(REFUSED_PREFIXES):
        hint = "; use contentType" if lowered == "content-type" else ", it is the service's own"
        raise ValueError(f"must not be {lowered}{hint}")
    return name


def check_header_value(value: str) -> str:
    """A header's value: visible ASCII, blanks inside."""
    if len(value) > limits.HEADER_VALUE_MAX:
        raise ValueError(f"must have at most {limits.HEADER_VALUE_MAX} characters, has {len(value)}")
    if _HEADER_VALUE.fullmatch(value) is None:
        raise ValueError("must be visible ASCII characters, with blanks only between them")
    return value


def check_headers(headers: dict[str, str]) -> dict[str, str]:
    """All headers of a timer together."""
    if len(headers) > limits.HEADERS_MAX:
        raise ValueError(f"must be at most {limits.HEADERS_MAX} headers, are {len(headers)}")
    if len({name.lower() for name in headers}) < len(headers):
        raise ValueError("must not name a header twice; names differ not by case")
    size = sum(len(name) + len(value) for name, value in headers.items())
    if size > limits.HEADERS_MAX_BYTES:
        raise ValueError(f"must have at most {limits.HEADERS_MAX_BYTES} bytes in all, have {size}")
    return headers


def check_label_name(name: str) -> str:
    """A label's name in Kubernetes' syntax."""
    prefix = _SUBDOMAIN.match(name)
    if _LABEL_NAME.fullmatch(name, prefix.end() if prefix else 0) is None:
        raise ValueError(
            "must be a label name: up to 63 of A-Z a-z 0-9 _ . -, alphanumeric at both ends, after an optional DNS prefix/"
        )
    return name


def check_label_value(value: str) -> str:
    """A label's value in Kubernetes' syntax."""
    if value and _LABEL_NAME.fullmatch(value) is None:
        raise ValueError("must be a label value: up to 63 of A-Z a-z 0-9 _ . -, alphanumeric at both ends, or empty")
    return value


def check_labels(labels: dict[str, str]) -> dict[str, str]:
    """All labels of a timer together."""
    if len(labels) > limits.LABELS_MAX:
        raise ValueError(f"must be at most {limits.LABELS_MAX} labels, are {len(labels)}")
    return labels


def check_media_type(media_type: str) -> str:
    """A media type, parameters allowed."""
    if len(media_type) > MEDIA_TYPE_MAX or _MEDIA_TYPE.fullmatch(media_type) is None:
        raise ValueError(f"must be a media type such as text/plain; charset=utf-8, at most {MEDIA_TYPE_MAX} characters")
    return media_type


def is_json_media_type(media_type: str) -> bool:
    """Whether content of this media type is JSON: `application/json`, or any with the suffix `+json`."""
    essence = media_type.partition(";")[0].strip().lower()
    return essence == JSON_MEDIA_TYPE or essence.endswith("+json")
