"""What `checks.py` holds about the texts of a timer, in CEL, message by message.

Left out is what CEL has no words for: whether an IPv6 address is one, and what an internationalised host stands for.
"""

from __future__ import annotations

from typing import Final

from durable_timer.models import limits
from durable_timer.models.cel import CelRule, FieldRules, matches, matches_not
from durable_timer.models.checks import REFUSED_HEADERS, REFUSED_PREFIXES

_LABEL: Final = "[A-Za-z0-9_-]{1,63}"
_HOST: Final = rf"(\[[0-9A-Fa-f:.]+\]|({_LABEL}\.)*{_LABEL}\.?)"
_PORT: Final = (
    "(0{0,4}[1-9]|0{0,3}[1-9][0-9]|0{0,2}[1-9][0-9]{2}|0?[1-9][0-9]{3}|[1-5][0-9]{4}"
    "|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
)
_BYTE: Final = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_NUMERIC_HOST: Final = r"^[^:]*://([^/?#:]*\.)?([0-9]+|0[xX][0-9A-Fa-f]*)\.?([:/?#]|$)"
_IPV4_HOST: Final = rf"^[^:]*://{_BYTE}(\.{_BYTE}){{3}}([:/?#]|$)"
_WITH_PORT: Final = r"^[^:]*://(\[[^\]]*\]|[^/?#:\[]*):"

CALLBACK_URL: Final = FieldRules(
    (
        matches("^(?i:https?)://", "must be an http or https URL"),
        matches_not(r"^[^:]*://[^/?#\\]*@", "must not carry credentials; use headers"),
        matches(
            rf"^[^:]*://{_HOST}(:[0-9]{{1,5}})?([/?#]|$)",
            "must name a host: a name, an IPv4 or a bracketed IPv6 address, and after it a port, a path or nothing",
        ),
        CelRule(
            f"!self.matches(r'{_NUMERIC_HOST}') || self.matches(r'{_IPV4_HOST}')",
            "must name a host: one that ends in a number has to be an IPv4 address",
        ),
        CelRule(
            f"!self.matches(r'{_WITH_PORT}') || self.matches(r'{_WITH_PORT}{_PORT}([/?#]|$)')",
            "must have a port from 1 to 65535",
        ),
        matches(
            "^[!-~]*$", "must be of printable ASCII characters, other ones percent-encoded (in the host: punycode)"
        ),
    )
)
"""`check_callback_url`."""

HEADER_NAME: Final = FieldRules(
    (
        CelRule("self.lowerAscii() != 'content-type'", "must not be content-type; use contentType"),
        CelRule(
            f"!(self.lowerAscii() in {sorted(REFUSED_HEADERS - {'content-type'})})"
            + "".join(f" && !self.lowerAscii().startsWith('{prefix}')" for prefix in REFUSED_PREFIXES),
            "must not be one of the service's own headers, nor one of a connection",
        ),
    )
)
"""`check_header_name`, but for its characters."""

HEADERS: Final = FieldRules(
    (
        CelRule(
            "self.all(one, self.exists_one(other, other.name.lowerAscii() == one.name.lowerAscii()))",
            "must not name a header twice; names differ not by case",
        ),
        CelRule(
            f"self.map(one, size(one.name) + (has(one.value) ? size(one.value) : 0)).sum() <= {limits.HEADERS_MAX_BYTES}",
            f"must have at most {limits.HEADERS_MAX_BYTES} bytes in all",
        ),
    )
)
"""`check_headers`, but for how many they are."""

MEDIA_TYPE: Final = FieldRules(
    (
        matches(
            r'^(?i:[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+)([ \t]*;[ \t]*[!-~]+=([!-~]+|"[ !-~]*"))*$',
            "must be a media type such as text/plain; charset=utf-8",
        ),
    )
)
"""`check_media_type`, but for its length."""

LABELS: Final = FieldRules(
    (
        CelRule(
            "self.all(name, name.indexOf('/') <= 253 && name.matches(r'^([a-z0-9]([a-z0-9-]*[a-z0-9])?"
            r"(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$'))",
            "must have label names: up to 63 of A-Z a-z 0-9 _ . -, alphanumeric at both ends, after an optional DNS prefix/",
        ),
    )
)
"""`check_label_name` of each."""

JSON_MEDIA_TYPE_PATTERN: Final = r"^[ \t]*((?i:application/json)|[^;]*(?i:\+json))[ \t]*(;|$)"
"""`is_json_media_type`."""
