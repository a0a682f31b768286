"""Whom a request comes from: the connection's other end, or what a trusted proxy says of it."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from aiohttp import web

from provisioner.service.context import services_of

Address = IPv4Address | IPv6Address
Networks = Sequence[IPv4Network | IPv6Network]

_FORWARDED = "X-Forwarded-For"
_SITE_BITS = 64
"""An IPv6 customer has a whole /64 of addresses."""


def parse_address(text: str) -> Address | None:
    """An address without its zone; IPv4 mapped into IPv6 is IPv4. None if it is not one."""
    try:
        address = ip_address(text.strip().partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_within(address: Address | None, networks: Networks) -> bool:
    return address is not None and any(address in network for network in networks)


def peer_address(request: web.Request) -> Address | None:
    """The other end of the connection; None if it is not a network's (a Unix socket)."""
    return parse_address(request.remote or "")


def client_address(request: web.Request) -> Address | None:
    """The client's address.

    Each proxy appends the address it was asked from to `X-Forwarded-For`, after whatever the client
    itself wrote there. So the list is read from the right, and only as far as trusted proxies wrote
    it.
    """
    trusted = services_of(request).trusted_proxies
    address = peer_address(request)
    steps = ",".join(request.headers.getall(_FORWARDED, [])).split(",")
    while steps and is_within(address, trusted):
        before = parse_address(steps.pop())
        if before is None:
            break
        address = before
    return address


def source(address: Address | None) -> str:
    """Whom limits count as one: an IPv4 address, or a whole IPv6 site."""
    if isinstance(address, IPv6Address):
        return str(ip_network((address, _SITE_BITS), strict=False))
    return str(address or "")
