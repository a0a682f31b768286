"""Netboot where DHCP and TFTP are served by something else at the site."""

from collections.abc import Iterable
from datetime import datetime


class ExternalNetboot:
    """Hands out nothing: the site's DHCP server has to know the servers and the boot URL."""

    async def set_hosts(self, hosts: Iterable[tuple[str, str, str]]) -> None:
        """Addresses are the other server's business."""

    def dhcp_seen(self, mac: str) -> datetime | None:
        """Nothing is known about requests to somebody else."""
        return None
