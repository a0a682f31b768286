"""Network boot: DHCP and TFTP, then iPXE scripts over HTTP."""

from provisioner.drivers.netboot.base import Host, Netboot

__all__ = ["Host", "Netboot"]
