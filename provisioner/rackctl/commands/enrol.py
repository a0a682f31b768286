"""rackctl enrol: enrols the servers of inventory files, all or nothing."""

from pathlib import Path
from typing import Annotated

import typer

from provisioner.rackctl.client import path
from provisioner.rackctl.errors import ApiRefusal, Failed
from provisioner.rackctl.inventory_files import read_inventory
from provisioner.rackctl.output import Format, Output
from provisioner.rackctl.session import session
from provisioner.rackctl.tables import rows


def enrol(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Inventory files (YAML).")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the files, but change nothing.")
    ] = False,
    output: Output = Format.TABLE,
) -> None:
    """Enrol or update the servers in inventory files, all or nothing.

    Every fault is printed with its file and line. With any fault, nothing is changed.
    """
    inventory = read_inventory(files)
    shared = session(context)
    try:
        answer = shared.api.call(
            "POST",
            path("enrolments"),
            body={"documents": inventory.documents},
            parameters={"dry_run": "true" if dry_run else None},
        )
    except ApiRefusal as refusal:
        if not refusal.faults:
            raise
        raise Failed(
            refusal.reason,
            details=[inventory.explain(pointer, reason) for pointer, reason in refusal.faults],
            next_action="fix these lines and enrol again",
        ) from refusal
    lines = [
        (name, outcome)
        for outcome in ("created", "updated", "unchanged")
        for name in answer.get(outcome, [])
    ]
    shared.screen.show(output, answer, rows(["SERVER", "OUTCOME"], lines))
    if dry_run:
        shared.screen.note("Dry run: nothing was changed.")
