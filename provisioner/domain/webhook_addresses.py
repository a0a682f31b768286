"""Where webhooks may go: customers' addresses are hostile and must not reach inner networks.

The driver resolves names, and connects only to addresses checked here.
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
    """For labs only: messages can be read, and answers forged, on the way."""
    allowed: tuple[IPNetwork, ...] = ()
    """Inner networks with the site's own receivers."""
    refused: tuple[IPNetwork, ...] = ()
    """Networks refused although they are public or within an allowed one."""

    def url(self, text: str) -> URL:
        """Parse an address. Raises ValueError if it may not be set."""
        if len(text) > LONGEST or not text.isprintable() or any(c.isspace() for c in text):
            raise ValueError(f"an address has at most {LONGEST} characters and no spaces")
        url = URL(text)
        schemes = ("https", "http") if self.allow_http else ("https",)
        if url.scheme not in schemes or not url.host:
            raise ValueError(f"an address begins with {' or '.join(s + '://' for s in schemes)}")
        if url.user is not None or url.password is not None:
            raise ValueError(
                "an address must not contain a user or a password: messages are signed"
            )
        if not url.port:
            raise ValueError("0 is not a valid port")
        return url.with_fragment(None)

    def admit(self, addresses: Iterable[IPAddress]) -> bool:
        """Whether a name with these addresses may be used; one bad address rules it out."""
        looked_up = list(addresses)
        return bool(looked_up) and all(map(self._admits, looked_up))

    def _admits(self, address: IPAddress) -> bool:
        if any(address in network for network in self.refused):
            return False
        return is_public(address) or any(address in network for network in self.allowed)


def is_public(address: IPAddress) -> bool:
    """Whether the address is a single host on the public Internet.

    Forms that embed an IPv4 address (mapped, 6to4, NAT64) are not: they may lead to any network.
    """
    if isinstance(address, IPv6Address) and (address.sixtofour or address.is_site_local):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved
