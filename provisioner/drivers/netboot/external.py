"""Netboot where something else at the site serves DHCP and TFTP."""

from collections.abc import Iterable
from datetime import datetime

from provisioner.drivers.netboot.base import Host, Netboot


class ExternalNetboot(Netboot):
    """Hands out nothing: the site's DHCP server has to know the servers and the boot URL."""

    async def set_hosts(self, hosts: Iterable[Host]) -> None:
        """The other server hands out addresses."""

    def dhcp_seen(self, mac: str) -> datetime | None:
        """Requests to another server are not known."""
        return None
