"""The same work on several servers: a few at a time, each with its own outcome.

One failure never stops the others.
"""

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Event
from typing import Annotated

import typer

from provisioner.rackctl import selector as selectors
from provisioner.rackctl.client import Api, JsonObject, path
from provisioner.rackctl.commands.completion import server_names
from provisioner.rackctl.errors import ExitCode, Failed, RackctlError, UsageFault

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME…]",
        help="Names of servers; - reads them from stdin.",
        autocompletion=server_names,
    ),
]
Selector = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE,…",
        help="Servers by site, rack, class, state and health instead of by name: commas mean and, "
        "a repeated key means or.",
    ),
]
Parallel = Annotated[int, typer.Option(min=1, max=64, help="Servers worked on at a time.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only show what would be done to which server.")
]
PARALLEL = 8


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the work on one server: its answer, or why there is none."""

    server: str
    answer: JsonObject | None = None
    error: RackctlError | None = None


Work = Callable[[str, Event], JsonObject]
"""Does the work on the server with this name, and gives up once the event is set."""


def each(
    names: Sequence[str],
    work: Work,
    *,
    parallel: int,
    report: Callable[[Outcome, int], None] = lambda outcome, done: None,
) -> list[Outcome]:
    """Do the work on every server, at most `parallel` at a time; return the outcomes in order.

    `report` gets each outcome as it comes, and how many there are by then. On Ctrl-C nothing more
    is begun, and KeyboardInterrupt is raised.
    """
    stop = Event()
    outcomes: dict[str, Outcome] = {}
    with ThreadPoolExecutor(max_workers=min(parallel, max(1, len(names)))) as pool:
        running: dict[Future[JsonObject], str] = {pool.submit(work, n, stop): n for n in names}
        try:
            while running:
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    name = running.pop(future)
                    outcomes[name] = _outcome(name, future)
                    report(outcomes[name], len(outcomes))
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return [outcomes[name] for name in names]


def _outcome(name: str, future: Future[JsonObject]) -> Outcome:
    try:
        return Outcome(name, answer=future.result())
    except RackctlError as error:
        return Outcome(name, error=error)


def targets(
    api: Api, names: Sequence[str] | None, selector: Sequence[str] | None, *, parallel: int
) -> list[Outcome]:
    """The servers meant, as the API shows them; those that cannot be shown have an error.

    Raises UsageFault without any, and Failed if the selector matches none.
    """
    if selector:
        if names:
            raise UsageFault("give either names or --selector, not both")
        wanted = selectors.parse(selector)
        found = selectors.select(api.items(path("servers")), wanted)
        if not found:
            raise Failed("no server matches the selector", next_action="see: rackctl server list")
        return [Outcome(server["name"], answer=server) for server in found]
    given = list(dict.fromkeys(_read(names or [])))
    if not given:
        raise UsageFault(
            "no server is named", next_action="give names, - to read them from stdin, or --selector"
        )
    return each(given, lambda name, _: api.get(path("servers", name)), parallel=parallel)


def _read(names: Sequence[str]) -> list[str]:
    """Replace `-` by the names on standard input, which are parted by white space."""
    if "-" not in names:
        return list(names)
    listed = sys.stdin.read().split()
    return [name for given in names for name in (listed if given == "-" else [given])]


def exit_code(outcomes: Sequence[Outcome]) -> ExitCode:
    """0 if all succeeded, 5 if only some did; if none did, what they share, or 1."""
    codes = {outcome.error.exit_code for outcome in outcomes if outcome.error is not None}
    if not codes:
        return ExitCode.OK
    if any(outcome.error is None for outcome in outcomes):
        return ExitCode.PARTIAL
    return codes.pop() if len(codes) == 1 else ExitCode.REFUSED
