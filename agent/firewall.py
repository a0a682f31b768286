"""nftables rules that close the machine's network to everything but the provisioner.

They form a table of their own, ahead of all others. `agent.access` loads them.
"""

from __future__ import annotations

import ipaddress
import socket

from agent.post import address

# Both rulesets are for `nft -f -` and may be loaded repeatedly.
OPEN = """
table inet ironlease {}
delete table inet ironlease
"""


def closed(url: str) -> str:
    """Drop everything but loopback, DHCP, neighbour discovery and the provisioner at `url`.

    Raises `OSError` and `ValueError` if `url` cannot be resolved.
    """
    peers = provisioner(url)
    to_us = [f"{ip} saddr {host} tcp sport {port} accept" for ip, host, port in peers]
    from_us = [f"{ip} daddr {host} tcp dport {port} accept" for ip, host, port in peers]
    between = "\n    "
    neighbours = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept"
    return f"""{OPEN}
table inet ironlease {{
  chain input {{
    type filter hook input priority -450; policy drop;
    iif lo accept
    {between.join(to_us)}
    udp sport 67 udp dport 68 accept
    {neighbours}
  }}
  chain output {{
    type filter hook output priority -450; policy drop;
    oif lo accept
    {between.join(from_us)}
    udp sport 68 udp dport 67 accept
    {neighbours}
  }}
  chain forward {{
    type filter hook forward priority -450; policy drop;
  }}
}}
"""


def provisioner(url: str) -> list[tuple[str, str, int]]:
    """Resolve `url` to (`ip` or `ip6`, address, port) tuples."""
    scheme, _, rest = url.partition("://")
    name, port = address(scheme, rest.partition("/")[0])
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    hosts = {ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found}
    return [
        ("ip" if host.version == 4 else "ip6", str(host), port)
        for host in sorted(hosts, key=lambda host: (host.version, int(host)))
    ]
