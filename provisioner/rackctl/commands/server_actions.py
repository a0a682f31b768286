"""rackctl server: an operator's requests, on one server or many. One table lists them."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from threading import Event
from typing import Annotated, Any

import typer

from provisioner.rackctl import bulk
from provisioner.rackctl.client import JsonObject, path
from provisioner.rackctl.commands import on_servers, requests
from provisioner.rackctl.commands.catalogue import read_public_key
from provisioner.rackctl.commands.durations import seconds
from provisioner.rackctl.commands.on_servers import Action, Options
from provisioner.rackctl.confirm import Yes
from provisioner.rackctl.errors import UsageFault
from provisioner.rackctl.output import Format, Output
from provisioner.rackctl.session import Session, session
from provisioner.rackctl.tables import prose, rows

Reason = Annotated[
    str, typer.Option("--reason", help="The reason, kept in the audit trail and shown to others.")
]


ACTIONS = (
    Action(
        "quarantine",
        "quarantine",
        "Take servers out of the pool.",
        warning="It leaves the pool until somebody returns it.",
        needs_reason=True,
    ),
    Action(
        "repaired",
        "repaired",
        "Return repaired servers from quarantine. They are inspected and wiped again.",
    ),
    Action(
        "maintain",
        "maintain",
        "Take available servers out of service for maintenance.",
        needs_reason=True,
    ),
    Action(
        "resume",
        "resume",
        "Return servers from maintenance. They are inspected and wiped before they are available.",
    ),
    Action(
        "retire",
        "retire",
        "Take erased servers out of service for good.",
        warning="It is out of service for good.",
    ),
    Action(
        "validate",
        "validate",
        "Check the hardware of servers in maintenance against their last inspection.",
    ),
    Action(
        "wipe",
        "sanitise",
        "Sanitise every disk of servers in maintenance, with erasure certificates.",
        warning="All data on all of its disks is lost.",
        timeout="12h",
    ),
)


class PowerAction(StrEnum):
    STATUS = "status"
    ON = "on"
    OFF = "off"
    RESET = "reset"
    CYCLE = "cycle"
    SHUTDOWN = "shutdown"


_CUT = "Whatever runs on it is lost."
_POWER = {
    PowerAction.ON: Action("power on", "start", ""),
    PowerAction.OFF: Action("power off", "power_off", "", warning=_CUT),
    PowerAction.RESET: Action("power reset", "reset", "", warning=_CUT),
    PowerAction.CYCLE: Action("power cycle", "power_cycle", "", warning=_CUT),
    PowerAction.SHUTDOWN: Action(
        "power shutdown", "stop", "", warning="Whatever runs on it is stopped."
    ),
}
"""The request that each action files."""

_IMAGE = Action("image", "image", "", warning="All data on its system disk is lost.")


def register(app: typer.Typer) -> None:
    """Add a command for every action of the table."""
    for action in ACTIONS:
        app.command(action.command, help=action.help)(_command(action))
    app.command()(power)
    app.command()(image)
    app.command()(retry)


def _command(action: Action) -> Callable[..., None]:
    required: Any = ...
    default_reason = required if action.needs_reason else ""

    def command(
        context: typer.Context,
        *,
        names: bulk.Names = None,
        selector: bulk.Selector = None,
        reason: Reason = default_reason,
        parallel: bulk.Parallel = bulk.PARALLEL,
        dry_run: bulk.DryRun = False,
        yes: Yes = False,
        wait: requests.Wait = True,
        timeout: requests.Timeout = action.timeout,
        output: Output = Format.TABLE,
    ) -> None:
        if action.needs_reason and not reason.strip():
            raise UsageFault(
                "--reason is empty", next_action="say why; it is kept in the audit trail"
            )
        patience = requests.Patience(wait, seconds(timeout))
        options = Options(
            names or (), selector or (), parallel, dry_run, yes, output, reason, patience
        )
        on_servers.file(session(context), action, options)

    return command


def power(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME…] [ACTION]",
            help="Names of servers (- reads them from stdin), then status, on, off, reset, cycle "
            "or shutdown; status by default.",
        ),
    ] = None,
    *,
    selector: bulk.Selector = None,
    reason: Reason = "",
    parallel: bulk.Parallel = bulk.PARALLEL,
    dry_run: bulk.DryRun = False,
    yes: Yes = False,
    wait: requests.Wait = True,
    timeout: requests.Timeout = "1h",
    output: Output = Format.TABLE,
) -> None:
    """Show servers' power state, or switch it during quarantine or maintenance."""
    names = list(words or [])
    action = PowerAction.STATUS
    if names and names[-1] in list(PowerAction):
        action = PowerAction(names.pop())
    patience = requests.Patience(wait, seconds(timeout))
    options = Options(names, selector or (), parallel, dry_run, yes, output, reason, patience)
    if action is PowerAction.STATUS:
        _show_power(session(context), options)
    else:
        on_servers.file(session(context), _POWER[action], options)


def _show_power(shared: Session, options: Options) -> None:
    found = bulk.targets(shared.api, options.names, options.selector, parallel=options.parallel)
    read = bulk.each(
        [target.server for target in found],
        lambda name, _: shared.api.get(path("servers", name, "power")),
        parallel=options.parallel,
    )
    if len(read) == 1 and read[0].error:
        raise read[0].error
    items = [
        {
            "server": o.server,
            "power": o.answer["power"] if o.answer else None,
            "failure": on_servers.why(o),
        }
        for o in read
    ]
    table = rows(
        ["SERVER", "POWER", prose("FAILURE")],
        ((item["server"], item["power"], item["failure"]) for item in items),
    )
    shared.screen.show(options.output, {"items": items, "next": None}, table)
    on_servers.finish(shared, read, "read")


def image(
    context: typer.Context,
    *,
    names: bulk.Names = None,
    image: Annotated[str, typer.Option("--image", help="Image to install.")],
    key: Annotated[
        list[str],
        typer.Option(help="Public key file, or name or id of a registered key. Repeatable."),
    ],
    selector: bulk.Selector = None,
    reason: Reason = "",
    parallel: bulk.Parallel = bulk.PARALLEL,
    dry_run: bulk.DryRun = False,
    yes: Yes = False,
    wait: requests.Wait = True,
    timeout: requests.Timeout = "1h",
    output: Output = Format.TABLE,
) -> None:
    """Install an image on servers in maintenance, so that you can log in to them."""
    keys = [read_public_key(Path(given)) if Path(given).is_file() else given for given in key]
    patience = requests.Patience(wait, seconds(timeout))
    options = Options(names or (), selector or (), parallel, dry_run, yes, output, reason, patience)
    on_servers.file(session(context), _IMAGE, options, image=image, ssh_keys=keys)


def retry(
    context: typer.Context,
    *,
    names: bulk.Names = None,
    selector: bulk.Selector = None,
    parallel: bulk.Parallel = bulk.PARALLEL,
    dry_run: bulk.DryRun = False,
    yes: Yes = False,
    output: Output = Format.TABLE,
) -> None:
    """Retry parked operations now, once their cause is fixed."""
    shared = session(context)
    action = Action("retry", "retry", "")
    options = Options(names or (), selector or (), parallel, dry_run, yes, output)

    def work(name: str, stop: Event) -> JsonObject:
        shared.api.post(path("servers", name, "retry"))
        return on_servers.done(shared, name, None)

    on_servers.on_all(shared, action, options, work)
