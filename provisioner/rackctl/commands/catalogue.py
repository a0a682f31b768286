"""rackctl class, image and key: what can be reserved, and who may log in."""

from pathlib import Path
from typing import Annotated

import typer

from provisioner.rackctl.client import Api, JsonObject, path
from provisioner.rackctl.errors import UsageFault
from provisioner.rackctl.files import read_json, read_text
from provisioner.rackctl.formats import size
from provisioner.rackctl.output import Format, Output
from provisioner.rackctl.session import Wide, session
from provisioner.rackctl.tables import Ids, Rows, extra, moment, rows

classes = typer.Typer(no_args_is_help=True, help="Server classes that can be rented.")
images = typer.Typer(no_args_is_help=True, help="Images: operating systems for servers.")
_IMPORT_S = 3600.0
"""The service answers once the image is compressed and in the library."""

keys = typer.Typer(no_args_is_help=True, help="SSH public keys of accounts.")


@classes.command("list")
def list_classes(context: typer.Context, output: Output = Format.TABLE) -> None:
    """List the server classes with their prices and free servers."""
    shared = session(context)
    found = shared.api.items(path("classes"))
    lines = (
        (c["name"], c["title"], f"{c['price_per_hour']} {c['currency']}", c["free"]) for c in found
    )
    table = rows(["CLASS", "TITLE", "PER HOUR", "FREE"], lines)
    shared.screen.show(output, {"items": found, "next": None}, table)


@images.command("list")
def list_images(context: typer.Context, wide: Wide = False, output: Output = Format.TABLE) -> None:
    """List the images."""
    shared = session(context)
    found = shared.api.items(path("images"))
    lines = ((i["name"], i["title"], size(i["size_bytes"]), i["digest"]) for i in found)
    table = rows(["IMAGE", "TITLE", "SIZE", extra("DIGEST")], lines)
    shared.screen.show(output, {"items": found, "next": None}, table)


@images.command("import")
def import_image(
    context: typer.Context,
    disk: Annotated[
        str,
        typer.Argument(metavar="PATH", help="Raw disk image in the import folder."),
    ],
    description: Annotated[
        Path,
        typer.Option(
            "--description",
            help="JSON file with name, title and boot description (docs/images.md).",
        ),
    ],
    output: Output = Format.TABLE,
) -> None:
    """Import a raw disk image, so that it can be reserved by name."""
    boot = _read_description(description)
    shared = session(context)
    body = {"path": disk, "name": boot.pop("name"), "title": boot.pop("title"), "boot": boot}
    image = shared.api.call("POST", path("images"), body=body, answer_within_s=_IMPORT_S)
    lines = [(image["name"], image["title"], size(image["size_bytes"]), image["digest"])]
    shared.screen.show(output, image, rows(["IMAGE", "TITLE", "SIZE", extra("DIGEST")], lines))


def _read_description(file: Path) -> JsonObject:
    try:
        description = read_json(file)
    except (OSError, ValueError) as error:
        raise UsageFault(f"{file} cannot be read as JSON: {error}") from error
    if not isinstance(description, dict) or not {"name", "title"} <= description.keys():
        raise UsageFault(f"{file} must be a JSON object with name, title and boot description")
    return description


@keys.command("add")
def add_key(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="OpenSSH public key file.")],
    name: Annotated[
        str | None, typer.Option(help="Name of the key; its comment by default.")
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Add an SSH public key to your own account.

    For another account, pass the key to `rackctl reserve --account … --key FILE` instead.
    """
    line = read_public_key(file)
    shared = session(context)
    key = register_key(shared.api, line, name or key_name(line, file))
    shared.screen.show(output, key, _key_table([key]))


@keys.command("list")
def list_keys(context: typer.Context, wide: Wide = False, output: Output = Format.TABLE) -> None:
    """List the SSH public keys of your own account."""
    shared = session(context)
    found = shared.api.items(path("ssh-keys"))
    shared.screen.show(output, {"items": found, "next": None}, _key_table(found))


def _key_table(found: list[JsonObject]) -> Rows:
    short = Ids(key["id"] for key in found)
    return rows(
        ["KEY", "NAME", "FINGERPRINT", extra("ADDED")],
        (
            (short(k["id"]), k["name"], k.get("fingerprint"), moment(k.get("created_at")))
            for k in found
        ),
    )


def read_public_key(file: Path) -> str:
    """The one public key line of a file; the service validates it.

    Raises UsageFault, above all for a private key, which must not leave the machine.
    """
    try:
        text = read_text(file)
    except (OSError, ValueError) as error:
        raise UsageFault(f"the key file {file} cannot be read: {error}") from error
    if "PRIVATE KEY" in text:
        raise UsageFault(f"{file} is a private key", next_action=f"use the public key: {file}.pub")
    lines = [line for line in map(str.strip, text.splitlines()) if line and line[0] != "#"]
    if len(lines) != 1:
        raise UsageFault(f"{file} has {len(lines)} lines; expected one public key")
    return lines[0]


def key_name(line: str, file: Path) -> str:
    """A key's comment, or the file's name when it has none."""
    parts = line.split(maxsplit=2)
    return parts[2] if len(parts) > 2 else file.stem


def register_key(api: Api, line: str, name: str) -> JsonObject:
    return api.post(path("ssh-keys"), {"name": name, "public_key": line})
