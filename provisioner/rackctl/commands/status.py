"""rackctl status: the status of the service itself."""

from datetime import datetime

import typer
from rich.console import Group

from provisioner.rackctl.client import JsonObject, path
from provisioner.rackctl.formats import duration, local_time
from provisioner.rackctl.output import Format, Output, section, sheet
from provisioner.rackctl.session import Wide, session
from provisioner.rackctl.tables import extra, prose, rows


def status(context: typer.Context, wide: Wide = False, output: Output = Format.TABLE) -> None:
    """Show the service's status: version, database, servers, incidents and background work.

    Each background loop is listed with its last turn, its duration and its last error.
    """
    shared = session(context)
    found = shared.api.get(path("status"))
    shared.screen.show(output, found, _page(found))


def _page(found: JsonObject) -> Group:
    database = f"{found['database']}, answered in {_took(found['database_s'])}"
    facts = sheet(
        [
            ("version", found["version"]),
            ("database", database),
            ("servers", _counts(found["servers"])),
            ("open incidents", _counts(found["incidents"])),
        ]
    )
    now = datetime.fromisoformat(found["now"])
    loops = rows(
        ["LOOP", "STATE", "LAST TURN", "TOOK", extra("TURNS"), "FAILURES", prose("LAST ERROR")],
        (
            (
                loop["name"],
                "failed" if loop["failing"] else "ok",
                _ago(loop["turned_at"], now),
                _took(loop["took_s"]),
                loop["turns"],
                loop["failures"],
                f"{local_time(loop['error_at'])}: {loop['error']}" if loop["error"] else "",
            )
            for loop in found["loops"]
        ),
    )
    return Group(facts, section("Background work", loops))


def _counts(of: JsonObject) -> str:
    return ", ".join(f"{count} {name}" for name, count in of.items()) or "none"


def _ago(at: str | None, now: datetime) -> str:
    if at is None:
        return "never"
    return f"{duration((now - datetime.fromisoformat(at)).total_seconds())} ago"


def _took(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else duration(seconds)
