"""The interface to network boot: who gets an address, and who has asked for one."""

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol

Host = tuple[str, str, str]
"""A known machine: MAC, IPv4 address, host name."""


class Netboot(Protocol):
    async def set_hosts(self, hosts: Iterable[Host]) -> None:
        """Replace the known machines; each gets its own address."""

    def dhcp_seen(self, mac: str) -> datetime | None:
        """When this MAC last asked for an address; None if it is not known to have asked."""
