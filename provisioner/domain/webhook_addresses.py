"""Where webhooks may go: customers' addresses are hostile input, and must not lead inside.

Looking names up, and connecting to what was checked here and nothing else, is the driver's.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from yarl import URL

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

LONGEST = 2000


@dataclass(frozen=True, slots=True)
class AddressRules:
    allow_http: bool = False
    """For labs: what is sent can then be read and its answer forged on the way."""
    allowed: tuple[IPNetwork, ...] = ()
    """Inner networks with receivers of the site's own."""
    refused: tuple[IPNetwork, ...] = ()
    """Networks that are refused though they are public, or lie in an allowed one."""

    def url(self, text: str) -> URL:
        """The address, parsed. Raises ValueError when it is none that may be set."""
        if len(text) > LONGEST or not text.isprintable() or any(c.isspace() for c in text):
            raise ValueError(f"an address has {LONGEST} characters at most, and no blanks")
        url = URL(text)
        schemes = ("https", "http") if self.allow_http else ("https",)
        if url.scheme not in schemes or not url.host:
            raise ValueError(f"an address begins with {' or '.join(s + '://' for s in schemes)}")
        if url.user is not None or url.password is not None:
            raise ValueError("an address holds no user and no password: messages are signed")
        if not url.port:
            raise ValueError("0 is no port")
        return url.with_fragment(None)

    def admit(self, addresses: Iterable[IPAddress]) -> bool:
        """Whether a name with these addresses is fit: one bad address condemns it."""
        looked_up = list(addresses)
        return bool(looked_up) and all(map(self._admits, looked_up))

    def _admits(self, address: IPAddress) -> bool:
        if any(address in network for network in self.refused):
            return False
        return is_public(address) or any(address in network for network in self.allowed)


def is_public(address: IPAddress) -> bool:
    """One host of the Internet. Forms that carry an IPv4 address inside (mapped, 6to4, NAT64)
    are not: they may lead to any network."""
    if isinstance(address, IPv6Address) and (address.sixtofour or address.is_site_local):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved
