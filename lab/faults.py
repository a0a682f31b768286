"""`python -m lab fault …`: inject faults into a running rack, and clear them."""

from __future__ import annotations

from typing import Annotated

import typer

from lab.options import RackName, ServerName, errors_told
from lab.rack import Rack
from lab.rack.bmc import BmcFault
from lab.rack.plan import DEFAULT_NAME
from lab.rack.rack import DiskFault

faults = typer.Typer(
    no_args_is_help=True, help="Inject faults into a running rack, and clear them."
)

DiskSerial = Annotated[str, typer.Argument(metavar="DISK", help="A disk's serial, such as IL01-A.")]


@faults.command()
def bmc_drop(server: ServerName, name: RackName = DEFAULT_NAME) -> None:
    """Drop the BMC's packets."""
    _bmc(name, server, "drop")


@faults.command()
def bmc_hang(server: ServerName, name: RackName = DEFAULT_NAME) -> None:
    """Hang the BMC's software."""
    _bmc(name, server, "hang")


@faults.command()
def bmc_refuse(server: ServerName, name: RackName = DEFAULT_NAME) -> None:
    """Have the BMC refuse every login."""
    _bmc(name, server, "refuse")


@faults.command()
def bmc_heal(server: ServerName, name: RackName = DEFAULT_NAME) -> None:
    """Have the BMC work again."""
    _bmc(name, server, None)


@faults.command()
def kill(server: ServerName, name: RackName = DEFAULT_NAME) -> None:
    """Kill the machine at once, whatever it is doing."""
    with errors_told():
        Rack(name).kill(server)


@faults.command()
def disk_break(server: ServerName, disk: DiskSerial, name: RackName = DEFAULT_NAME) -> None:
    """Fail every access to the disk (I/O error)."""
    _disk(name, server, disk, "break")


@faults.command()
def disk_fill(server: ServerName, disk: DiskSerial, name: RackName = DEFAULT_NAME) -> None:
    """Fail every write to the disk (no space behind it); reads work."""
    _disk(name, server, disk, "fill")


@faults.command()
def disk_heal(server: ServerName, disk: DiskSerial, name: RackName = DEFAULT_NAME) -> None:
    """Have the disk work again."""
    _disk(name, server, disk, None)


@faults.command()
def cable_pull(server: ServerName, name: RackName = DEFAULT_NAME) -> None:
    """Take the server's switch port down: no link on either end."""
    with errors_told():
        Rack(name).set_port(server, up=False)


@faults.command()
def cable_plug(server: ServerName, name: RackName = DEFAULT_NAME) -> None:
    """Bring the server's switch port up again."""
    with errors_told():
        Rack(name).set_port(server, up=True)


@faults.command()
def no_dhcp(server: ServerName, name: RackName = DEFAULT_NAME) -> None:
    """Drop the server's DHCP requests; everything else passes."""
    with errors_told():
        Rack(name).set_dhcp(server, answered=False)


@faults.command()
def dhcp_heal(server: ServerName, name: RackName = DEFAULT_NAME) -> None:
    """Let the server's DHCP requests through again."""
    with errors_told():
        Rack(name).set_dhcp(server, answered=True)


@faults.command()
def boot_entry(server: ServerName, name: RackName = DEFAULT_NAME) -> None:
    """Have the firmware boot from disk every time, whatever the BMC asks for."""
    with errors_told():
        Rack(name).set_boot_entry(server, exists=True)


@faults.command()
def boot_entry_heal(server: ServerName, name: RackName = DEFAULT_NAME) -> None:
    """Have the firmware follow the BMC again."""
    with errors_told():
        Rack(name).set_boot_entry(server, exists=False)


def _bmc(name: str, server: str, fault: BmcFault | None) -> None:
    with errors_told():
        Rack(name).bmc_fault(server, fault)


def _disk(name: str, server: str, disk: str, fault: DiskFault | None) -> None:
    with errors_told():
        Rack(name).disk_fault(server, disk, fault)
