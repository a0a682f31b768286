"""`python -m lab`: the virtual rack, its images, the demonstration, and a service to try out.

Commands import what they need when they run, so that none depends on another's requirements.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from lab.console import interact
from lab.faults import faults
from lab.options import Output, RackName, ServerName, errors_told
from lab.rack import MachineOptions, Rack, RackError, RackIsUp
from lab.rack.plan import DEFAULT_NAME
from lab.rack.rack import PowerAction, names_up

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The virtual rack.")
app.add_typer(faults, name="fault")


@app.command()
def up(
    servers: Annotated[int, typer.Option(help="Number of servers.")] = 2,
    name: RackName = DEFAULT_NAME,
    disk_size: Annotated[str, typer.Option(help="Size of each disk, such as 4G.")] = "4G",
    memory: Annotated[int, typer.Option(help="Memory of each server in MiB.")] = 1024,
    machine: Annotated[
        list[str] | None,
        typer.Option(
            help="Different hardware for one server: NUMBER:disk=nvme|ahci|virtio|scsi,"
            "nic=virtio|e1000,firmware=bios|uefi,bmc=in-band|out-of-band (repeatable)."
        ),
    ] = None,
) -> None:
    """Bring a rack up: switch, BMCs and servers, all powered off."""
    with errors_told():
        options = dict(_machine_options(text) for text in machine or [])
        try:
            rack = Rack.up(name, servers, disk_size=disk_size, memory_mib=memory, options=options)
        except RackIsUp as error:
            typer.echo(error)
            return
        typer.echo(f"rack {name} is up; its inventory is {rack.inventory_file}")
        _print_table(rack.status())


@app.command()
def down(name: RackName = DEFAULT_NAME) -> None:
    """Take a rack down and remove everything it had, disks included."""
    with errors_told():
        Rack.down(name)
    typer.echo(f"rack {name} is down")


@app.command()
def status(
    name: Annotated[str | None, typer.Option(help="Show only this rack.")] = None,
    output: Annotated[Output, typer.Option("-o", "--output")] = Output.TEXT,
) -> None:
    """Show the racks that are up and their servers."""
    with errors_told():
        racks = [Rack(each).status() for each in ([name] if name else names_up())]
    if output is Output.JSON:
        typer.echo(json.dumps(racks, indent=2))
    elif not racks:
        typer.echo("no rack is up; `python -m lab up` brings one up")
    else:
        for each in racks:
            _print_table(each)


@app.command()
def console(
    server: ServerName,
    name: RackName = DEFAULT_NAME,
    replay: Annotated[
        bool, typer.Option("--replay", help="Print the kept output and exit.")
    ] = False,
) -> None:
    """Connect to a server's serial console (Ctrl-] leaves)."""
    with errors_told():
        rack = Rack(name)
        if replay:
            typer.echo(rack.console_text(server), nl=False)
            return
        socket = rack.plan.console_socket(rack.plan.server(server).name)
    typer.echo(f"{server}: press Ctrl-] to leave", err=True)
    interact(socket)


@app.command()
def power(
    server: ServerName,
    action: Annotated[PowerAction | None, typer.Argument(help="Action to take, if any.")] = None,
    pxe: Annotated[bool, typer.Option("--pxe", help="Boot from the network once.")] = False,
    name: RackName = DEFAULT_NAME,
) -> None:
    """Show or change a server's power, bypassing its BMC."""
    with errors_told():
        rack = Rack(name)
        if pxe:
            rack.boot(server, "pxe")
        typer.echo("on" if rack.power(server, action) else "off")


@app.command()
def images(
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Rebuild cached images too.")] = False,
) -> None:
    """Build the deploy ramdisk and the tenant image if they are missing."""
    from lab.images.cli import build  # noqa: PLC0415

    build(rebuild)


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="Run the loop, clean up and exit.")] = False,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write the phases to this file.")
    ] = None,
    servers: Annotated[int, typer.Option(help="Number of servers.")] = 2,
    name: RackName = DEFAULT_NAME,
) -> None:
    """Run the whole loop on a virtual rack, with a timeline."""
    from lab.demo import run  # noqa: PLC0415

    raise typer.Exit(run(once=once, json_path=json_path, servers=servers, name=name))


@app.command()
def serve(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 8080,
) -> None:
    """Run only the service, with simulated servers, to try out the pages and the API."""
    from lab.serve import run  # noqa: PLC0415

    raise typer.Exit(run(port=port))


_OPTION_NAMES = {"disk": "disk_bus", "nic": "nic", "firmware": "firmware", "bmc": "in_band_bmc"}
_OPTION_VALUES: dict[str, tuple[str, ...]] = {
    "disk": ("nvme", "ahci", "virtio", "scsi"),
    "nic": ("virtio", "e1000"),
    "firmware": ("bios", "uefi"),
    "bmc": ("in-band", "out-of-band"),
}


def _machine_options(text: str) -> tuple[int, MachineOptions]:
    """Parse a server's number and hardware from `NUMBER:key=value,…`."""
    number, _, pairs = text.partition(":")
    chosen: dict[str, Any] = {}
    for pair in pairs.split(","):
        key, _, value = pair.partition("=")
        if not number.isdigit() or value not in _OPTION_VALUES.get(key, ()):
            raise RackError(
                f"{text!r} does not describe a server's hardware; see `python -m lab up --help`"
            )
        chosen[_OPTION_NAMES[key]] = value == "in-band" if key == "bmc" else value
    return int(number), MachineOptions(**chosen)


def _print_table(rack: dict[str, Any]) -> None:
    table = Table(
        *("server", "power", "address", "BMC", "port", "faults"),
        title=f"rack {rack['name']} ({rack['acceleration']}, pid {rack['pid']})",
        title_justify="left",
    )
    for server in rack["servers"]:
        bmc, port = server["bmc"], server["port"]
        table.add_row(
            *(server["name"], server["power"], server["address"], bmc["address"]),
            f"{server['mac']}, tag {port['tag']}",
            ", ".join(_faults(server)),
        )
    Console(file=sys.stdout).print(table)


def _faults(server: dict[str, Any]) -> Iterator[str]:
    if server["bmc"]["fault"]:
        yield f"BMC {server['bmc']['fault']}"
    if server["own_boot_entry"]:
        yield "starts its disk"
    if not server["port"]["up"]:
        yield "port down"
    if not server["port"]["dhcp"]:
        yield "no DHCP"
    for disk in server["disks"]:
        if disk["fault"]:
            yield f"{disk['serial']} {disk['fault']}"


if __name__ == "__main__":
    app(prog_name="python -m lab")
