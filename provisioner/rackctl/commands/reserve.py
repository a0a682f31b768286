"""rackctl reserve and ssh: a server for oneself or on behalf of a customer, and the way in."""

import os
import uuid
from pathlib import Path
from typing import Annotated

import typer

from provisioner.rackctl.client import Api, JsonObject, path
from provisioner.rackctl.commands.catalogue import key_name, read_public_key, register_key
from provisioner.rackctl.commands.durations import seconds
from provisioner.rackctl.commands.reservation_page import (
    OVER,
    Reservation,
    find,
    show_reservation,
)
from provisioner.rackctl.config import config_folder
from provisioner.rackctl.errors import Failed, Unreachable, UsageFault
from provisioner.rackctl.files import read_text
from provisioner.rackctl.follow import reservation_states
from provisioner.rackctl.output import Format, Output, Screen
from provisioner.rackctl.session import session

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
    reservation = send(shared.api, path("reservations"), body)
    if wait:
        reservation = await_ready(shared.api, shared.screen, reservation["id"], wait_s)
    show_reservation(shared.screen, output, reservation)


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


def send(api: Api, address: str, body: JsonObject) -> JsonObject:
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    for _ in range(_SENDS - 1):
        try:
            return api.call("POST", address, body=body, headers=headers)
        except Unreachable:
            continue
    return api.call("POST", address, body=body, headers=headers)


def await_ready(api: Api, screen: Screen, reservation_id: str, timeout_s: float) -> JsonObject:
    """The reservation once login is possible; prints the running step to stderr."""
    shown = ""
    for reservation in reservation_states(api, reservation_id, timeout_s=timeout_s):
        lease = reservation["lease"]
        if lease is None or reservation["state"] == "waiting":
            lease = {"state": "waiting", "step": "looking for a server"}
        if lease["state"] == "ready":
            return reservation
        if reservation["state"] in OVER or lease["state"] in {"ending", "ended"}:
            break
        doing = f"{lease['state']}: {lease.get('step') or '…'}"
        if doing != shown:
            screen.note(doing)
            shown = doing
    raise Failed(
        f"{reservation_id} ended before it was ready",
        next_action=f"see why: rackctl reservation show {reservation_id}; rackctl incident list",
    )


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
    lease = find(shared.api, which)["lease"]
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
