"""Which targets a callback may reach. Until groups have egress rules of their own, one rule for all."""

from __future__ import annotations

import ipaddress
from typing import Final

METADATA: Final = frozenset({
    ipaddress.ip_address("169.254.169.254"), ipaddress.ip_address("fd00:ec2::254"),
    ipaddress.ip_address("100.100.100.200"), ipaddress.ip_address("168.63.129.16"),
})  # fmt: skip
"""Addresses at which clouds serve instance metadata and credentials."""

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def denied(text: str) -> bool:
    """Whether an address is loopback, link-local, unspecified, multicast or a metadata service's, however written."""
    address = _plain(ipaddress.ip_address(text.partition("%")[0]))
    return (
        address.is_loopback
        or address.is_link_local
        or address.is_unspecified
        or address.is_multicast
        or address in METADATA
    )


def _plain(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one (mapped, 6to4, NAT64)."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.sixtofour is not None:
            return address.sixtofour
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address
