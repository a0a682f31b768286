"""What dnsmasq is told: its settings, and the configuration file and host list made of them.

Pure; running dnsmasq is `dnsmasq.py`'s.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

from provisioner.drivers.netboot.base import Host

_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")
_HOSTNAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)
_INTERFACE = re.compile(r"[\w.@-]{1,15}")

BOOT_PROGRAMS = ("undionly.kpxe", "snponly.efi")
"""iPXE for PXE ROMs (BIOS) and for UEFI firmware, of Debian's package `ipxe`."""
FIRST_SCRIPT = "boot.ipxe"
"""What iPXE begins with, beside the boot programs."""


@dataclass(frozen=True, slots=True)
class DnsmasqSettings:
    """The provisioning network as dnsmasq serves it."""

    interface: str
    """The network interface it listens on, and no other."""
    address: IPv4Interface
    """The provisioner's own address on it, with the network's length."""
    base_url: str
    """Where the provisioner serves iPXE scripts, as the servers reach it."""
    state_dir: Path
    """Holds configuration, host list and leases; made if missing."""
    tftp_root: Path
    """Holds the boot programs; made if missing. Both folders must be reachable by `user`."""
    pool: tuple[IPv4Address, IPv4Address] | None = None
    """First and last address for machines that are not known; None: they get no answer."""
    ipv6_prefix: str | None = "fd77::"
    """Announced by router advertisements when the interface has an address of this prefix. iPXE
    otherwise waits 16 s for one."""
    lease_s: int = 3600
    user: str = "nobody"
    """The unprivileged user it runs as after its start."""

    @property
    def hosts_file(self) -> Path:
        return self.state_dir / "hosts"

    @property
    def leases_file(self) -> Path:
        return self.state_dir / "leases"

    @property
    def pid_file(self) -> Path:
        return self.state_dir / "dnsmasq.pid"

    @property
    def configuration_file(self) -> Path:
        return self.state_dir / "dnsmasq.conf"


def configuration(settings: DnsmasqSettings) -> str:
    """The configuration file. Raises ValueError on a value that does not fit into a line of it."""
    interface = _checked(_INTERFACE, settings.interface)
    network = settings.address.network
    first, last = settings.pool or (network.network_address, "static")
    lines = [
        "port=0",  # no DNS
        f"interface={interface}",
        "except-interface=lo",
        "bind-interfaces",
        f"user={settings.user}",
        f"pid-file={settings.pid_file}",
        f"dhcp-leasefile={settings.leases_file}",
        f"dhcp-hostsfile={settings.hosts_file}",
        f"dhcp-range={first},{last},{network.netmask},{settings.lease_s}",
        "dhcp-authoritative",
        "no-ping",
        "dhcp-match=set:ipxe,175",
        "dhcp-match=set:efi,option:client-arch,7",
        "dhcp-match=set:efi,option:client-arch,9",
        f"dhcp-boot=tag:ipxe,{FIRST_SCRIPT}",
        "dhcp-boot=tag:!ipxe,tag:efi,snponly.efi",
        "dhcp-boot=tag:!ipxe,tag:!efi,undionly.kpxe",
        "dhcp-option-force=encap:175,176,1b",  # iPXE: do not wait for a ProxyDHCP server
        "enable-tftp",
        f"tftp-root={settings.tftp_root}",
    ]
    if settings.pool is None:
        lines.append("dhcp-ignore=tag:!known")
    if settings.ipv6_prefix is not None:
        lines += ["enable-ra", f"dhcp-range={settings.ipv6_prefix},ra-only"]
        lines.append(f"ra-param={interface},10")
    return "\n".join([*lines, ""])


def host_list(hosts: Iterable[Host]) -> str:
    """The list of known machines, one a line. Raises ValueError."""
    return "".join(
        f"{_checked(_MAC, mac)},{IPv4Address(address)},{_checked(_HOSTNAME, name)}\n"
        for mac, address, name in hosts
    )


def _checked(pattern: re.Pattern[str], value: str) -> str:
    if not pattern.fullmatch(value):
        raise ValueError(f"not fit for dnsmasq's configuration: {value!r}")
    return value
