"""rackctl reserve, reservation and ssh: servers for customers, also on their behalf."""

import os
import uuid
from pathlib import Path
from typing import Annotated

import typer

from provisioner.rackctl.client import Api, JsonObject, path
from provisioner.rackctl.commands import requests
from provisioner.rackctl.commands.accounts import seconds
from provisioner.rackctl.commands.catalogue import key_name, read_public_key, register_key
from provisioner.rackctl.commands.certificates import certificate_table
from provisioner.rackctl.config import config_folder
from provisioner.rackctl.errors import Failed, Unreachable, UsageFault
from provisioner.rackctl.files import read_text
from provisioner.rackctl.follow import reservation_states
from provisioner.rackctl.formats import duration, local_time
from provisioner.rackctl.output import Format, Output, Screen, rows, section, sheet
from provisioner.rackctl.session import session

app = typer.Typer(no_args_is_help=True, help="Reservations and their leases.")

Reservation = Annotated[
    str, typer.Argument(metavar="RESERVATION", help="The reservation's id, res_….")
]
_OVER = frozenset({"ended", "cancelled"})
_SENDS = 3
"""Attempts for a request whose answer is lost; the idempotency key makes that safe."""


def reserve(
    context: typer.Context,
    *,
    server_class: Annotated[str, typer.Option("--class", help="Server class.")],
    image: Annotated[str, typer.Option(help="Image to install.")],
    length: Annotated[
        str, typer.Option("--for", metavar="DURATION", help="Duration, such as 2h or 1d12h.")
    ],
    key: Annotated[
        list[str],
        typer.Option(help="Public key file, or name or id of a registered key. Repeatable."),
    ],
    account: Annotated[
        str | None, typer.Option(help="On behalf of this account (id or e-mail).")
    ] = None,
    hostname: Annotated[str | None, typer.Option(help="Host name of the system.")] = None,
    user_data: Annotated[
        Path | None, typer.Option(help="Script to run at the first boot (begins with #!).")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until login is possible.")] = False,
    timeout: Annotated[
        str, typer.Option(metavar="DURATION", help="With --wait: exit with 4 after this time.")
    ] = "30m",
    output: Output = Format.TABLE,
) -> None:
    """Reserve a server starting now, for yourself or on behalf of an account."""
    shared = session(context)
    wait_s = seconds(timeout)
    body: JsonObject = {"class": server_class, "image": image, "duration_s": seconds(length)}
    body |= {"account": account} if account else {}
    body |= {"hostname": hostname} if hostname else {}
    body |= {"user_data": _read(user_data)} if user_data else {}
    body["ssh_keys"] = [_key(shared.api, given, account) for given in key]
    reservation = _send(shared.api, path("reservations"), body)
    if wait:
        reservation = _await_ready(shared.api, shared.screen, reservation["id"], wait_s)
    _show(shared.screen, output, reservation)


def _read(file: Path) -> str:
    try:
        return read_text(file)
    except (OSError, ValueError) as error:
        raise UsageFault(f"{file} cannot be read: {error}") from error


def _key(api: Api, given: str, account: str | None) -> str:
    """A key as the service accepts it: by name or id, or from a file.

    For another account the line of the file is enough; your own key is registered first, unless
    it already is.
    """
    if not ("/" in given or given.endswith(".pub") or Path(given).is_file()):
        return given
    line = read_public_key(Path(given))
    if account:
        return line
    material = line.split()[:2]
    for known in api.items(path("ssh-keys")):
        if known["public_key"].split()[:2] == material:
            return str(known["id"])
    return str(register_key(api, line, key_name(line, Path(given)))["id"])


def _send(api: Api, address: str, body: JsonObject) -> JsonObject:
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    for _ in range(_SENDS - 1):
        try:
            return api.call("POST", address, body=body, headers=headers)
        except Unreachable:
            continue
    return api.call("POST", address, body=body, headers=headers)


def _await_ready(api: Api, screen: Screen, reservation_id: str, timeout_s: float) -> JsonObject:
    """The reservation once login is possible; prints the running step to stderr."""
    shown = ""
    for reservation in reservation_states(api, reservation_id, timeout_s=timeout_s):
        lease = reservation["lease"] or {"state": "waiting", "step": "looking for a server"}
        if lease["state"] == "ready":
            return reservation
        if reservation["state"] in _OVER or lease["state"] in {"ending", "ended"}:
            break
        doing = f"{lease['state']}: {lease.get('step') or '…'}"
        if doing != shown:
            screen.note(doing)
            shown = doing
    raise Failed(
        f"{reservation_id} ended before it was ready",
        next_action=f"see why: rackctl reservation show {reservation_id}; rackctl incident list",
    )


@app.command("list")
def list_reservations(context: typer.Context, output: Output = Format.TABLE) -> None:
    """List your reservations; operators see all."""
    shared = session(context)
    found = shared.api.items(path("reservations"))
    table = rows(
        ["RESERVATION", "CLASS", "IMAGE", "STATE", "SERVER", "LEASE", "ENDS", "HOSTNAME"],
        (
            (
                reservation["id"],
                reservation["class"],
                reservation["image"],
                reservation["state"],
                (reservation["lease"] or {}).get("server"),
                (reservation["lease"] or {}).get("state"),
                local_time(reservation["ends_at"]),
                reservation["hostname"],
            )
            for reservation in found
        ),
    )
    shared.screen.show(output, {"items": found, "next": None}, table)


@app.command()
def show(context: typer.Context, which: Reservation, output: Output = Format.TABLE) -> None:
    """Show a reservation: how to log in, and the time of each step."""
    shared = session(context)
    _show(shared.screen, output, shared.api.get(path("reservations", which)))


def _show(screen: Screen, output: Format, reservation: JsonObject) -> None:
    if output is Format.JSON:
        screen.json(reservation)
        return
    lease = reservation["lease"] or {}
    screen.out.print(
        sheet(
            [
                ("reservation", reservation["id"]),
                ("state", reservation["state"]),
                ("class", reservation["class"]),
                ("image", reservation["image"]),
                ("host name", reservation["hostname"]),
                ("starts", local_time(reservation["starts_at"])),
                ("ends", local_time(reservation["ends_at"])),
                ("released", local_time(reservation["released_at"])),
                ("server", lease.get("server")),
                ("lease", lease.get("state")),
                ("step", lease.get("step")),
                ("ready", local_time(lease.get("ready_at"))),
                ("stopped", local_time(lease.get("stopped_at"))),
                ("log in", lease.get("ssh_command")),
                ("host key", lease.get("host_key")),
            ]
        )
    )
    if lease.get("phases"):
        lines = (
            (phase["step"], local_time(phase["started_at"]), duration(phase["seconds"]))
            for phase in lease["phases"]
        )
        screen.out.print(section("Phases", rows(["STEP", "STARTED", "TOOK"], lines)))


@app.command()
def extend(
    context: typer.Context,
    which: Reservation,
    by: Annotated[
        str, typer.Option("--by", metavar="DURATION", help="Additional time, such as 2h.")
    ],
    output: Output = Format.TABLE,
) -> None:
    """Extend a running reservation."""
    shared = session(context)
    body: JsonObject = {"by_s": seconds(by)}
    _show(shared.screen, output, _send(shared.api, path("reservations", which, "extend"), body))


@app.command()
def swap(context: typer.Context, which: Reservation, output: Output = Format.TABLE) -> None:
    """Replace a faulty server with another one. The data on its disks is lost."""
    shared = session(context)
    _show(shared.screen, output, shared.api.post(path("reservations", which, "swap")))


@app.command()
def start(context: typer.Context, which: Reservation, output: Output = Format.TABLE) -> None:
    """Switch the server on."""
    _request(context, which, {"verb": "start"}, output)


@app.command()
def stop(context: typer.Context, which: Reservation, output: Output = Format.TABLE) -> None:
    """Shut the server down. Cuts the power if that takes too long."""
    _request(context, which, {"verb": "stop"}, output)


@app.command()
def reboot(context: typer.Context, which: Reservation, output: Output = Format.TABLE) -> None:
    """Shut the server down and start it again."""
    _request(context, which, {"verb": "reboot"}, output)


@app.command("power-cycle")
def power_cycle(context: typer.Context, which: Reservation, output: Output = Format.TABLE) -> None:
    """Cut the server's power at once and switch it on again."""
    _request(context, which, {"verb": "power_cycle"}, output)


@app.command()
def reinstall(
    context: typer.Context,
    which: Reservation,
    *,
    image: Annotated[
        str | None, typer.Option(help="Install this image instead of the reservation's.")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask before the disk is erased.")
    ] = False,
    output: Output = Format.TABLE,
) -> None:
    """Erase the system disk and reinstall. Address, host key and SSH keys stay the same."""
    if not yes:
        typer.confirm("All data on the system disk will be lost. Continue?", abort=True, err=True)
    body: JsonObject = {"verb": "reinstall"}
    body |= {"image": image} if image else {}
    _request(context, which, body, output)


def _request(context: typer.Context, which: str, body: JsonObject, output: Format) -> None:
    requests.file(context, path("reservations", which, "requests"), body, output)


@app.command("requests")
def list_requests(
    context: typer.Context, which: Reservation, output: Output = Format.TABLE
) -> None:
    """List requests on the server and their outcomes, newest first."""
    requests.show_all(context, path("reservations", which, "requests"), output)


@app.command()
def release(context: typer.Context, which: Reservation, output: Output = Format.TABLE) -> None:
    """End a reservation now. Access ends at once and the server is wiped."""
    shared = session(context)
    reservation = shared.api.post(path("reservations", which, "release"))
    _show(shared.screen, output, reservation or shared.api.get(path("reservations", which)))


@app.command()
def certificates(context: typer.Context, which: Reservation, output: Output = Format.TABLE) -> None:
    """List the erasure certificates from before and after a reservation."""
    shared = session(context)
    found = shared.api.items(path("reservations", which, "certificates"))
    shared.screen.show(output, {"items": found, "next": None}, certificate_table(found))


def ssh(
    context: typer.Context,
    which: Reservation,
    command: Annotated[
        list[str] | None, typer.Argument(metavar="COMMAND", help="Command to run there, after --.")
    ] = None,
    identity: Annotated[
        Path | None, typer.Option("-i", "--identity", help="Private key to log in with.")
    ] = None,
) -> None:
    """Log in to a reserved server with ssh and a pinned host key. Exits with ssh's code."""
    shared = session(context)
    lease = shared.api.get(path("reservations", which))["lease"]
    if lease is None or lease["state"] != "ready":
        state = "waiting for a server" if lease is None else lease["state"]
        raise Failed(
            f"{which} is {state}: login is not possible",
            next_action=f"see: rackctl reservation show {which}",
        )
    known_hosts = config_folder() / "known_hosts" / lease["id"]
    known_hosts.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    known_hosts.write_text(lease["known_hosts"].rstrip("\n") + "\n")
    shared.close()
    # Only the host key that the provisioner issued counts: no trust on first use.
    options = {
        "UserKnownHostsFile": f'"{known_hosts}"',
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
    }
    arguments = ["ssh", *(f"-o{name}={value}" for name, value in options.items())]
    arguments += ["-i", str(identity)] if identity else []
    arguments += ["--", f"{lease['user']}@{lease['address']}", *(command or [])]
    try:
        os.execvp("ssh", arguments)  # noqa: S606 - the same process, so that ssh owns signals and terminal
    except FileNotFoundError as error:
        raise UsageFault("ssh is not installed", next_action="install openssh-client") from error
