"""One request on one server or many: asks first, then works on a few at a time, and sums up."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Event

from provisioner.rackctl import bulk
from provisioner.rackctl.client import JsonObject, path
from provisioner.rackctl.commands import requests, server_page
from provisioner.rackctl.confirm import confirm
from provisioner.rackctl.errors import SomeFailed
from provisioner.rackctl.output import Format
from provisioner.rackctl.session import Session
from provisioner.rackctl.tables import Rows, prose, rows


@dataclass(frozen=True, slots=True)
class Action:
    """A command that files a request."""

    command: str
    verb: str
    help: str
    warning: str = ""
    """What it destroys or takes away, so that it asks first. Others ask for several servers only.
    """
    needs_reason: bool = False
    timeout: str = "1h"


@dataclass(frozen=True, slots=True)
class Options:
    """What is common to all of these commands."""

    names: Sequence[str]
    selector: Sequence[str]
    parallel: int
    dry_run: bool
    yes: bool
    output: Format
    reason: str = ""
    patience: requests.Patience = field(default_factory=lambda: requests.Patience(False, 0))


def file(shared: Session, action: Action, options: Options, **more: object) -> None:
    """File a request on every server meant, wait for the outcomes, and show the new states."""
    body: JsonObject = {"verb": action.verb, "reason": options.reason, **more}

    def work(name: str, stop: Event) -> JsonObject:
        address = path("servers", name, "requests")
        request = requests.outcome(shared.api, address, body, options.patience, stop=stop)
        return done(shared, name, request)

    on_all(shared, action, options, work)


def done(shared: Session, name: str, request: JsonObject | None) -> JsonObject:
    server = shared.api.get(path("servers", name))
    return {"request": request, "server": server}


def on_all(shared: Session, action: Action, options: Options, work: bulk.Work) -> None:
    found = bulk.targets(shared.api, options.names, options.selector, parallel=options.parallel)
    servers = [target.answer for target in found if target.answer is not None]
    unknown = [target for target in found if target.error is not None]
    if options.dry_run:
        _show_plan(shared, action, options, servers, unknown)
        return
    if len(found) == 1 and unknown and unknown[0].error:
        raise unknown[0].error
    _ask(action, servers, yes=options.yes)
    total = len(servers)

    def report(outcome: bulk.Outcome, done: int) -> None:
        if len(found) > 1:
            shared.screen.note(f"[{done}/{total}] {outcome.server}: {_said(outcome)}")

    if total == 1:
        stands, check = "the request stands", f"rackctl server requests {servers[0]['name']}"
    else:
        stands, check = "requests filed so far stand, no more are filed", "rackctl server list"
    with requests.standing_on_interrupt(stands, check):
        worked = bulk.each(
            [str(server["name"]) for server in servers],
            work,
            parallel=options.parallel,
            report=report,
        )
    if len(found) == 1 and worked[0].error:
        raise worked[0].error
    outcomes = [*worked, *unknown]
    _show_outcomes(shared, options, outcomes)
    finish(shared, outcomes, "done")


def _ask(action: Action, servers: Sequence[JsonObject], *, yes: bool) -> None:
    """One confirmation for all: the server's name, or the number of servers."""
    if len(servers) == 1 and action.warning:
        [server] = servers
        warning = f"{action.command} {server['name']} ({server['state']}): {action.warning}"
        confirm(warning, [server["name"]], yes=yes)
    elif len(servers) > 1:
        names = ", ".join(str(server["name"]) for server in servers[:10])
        more = f" and {len(servers) - 10} more" if len(servers) > 10 else ""
        text = f"{action.command} {len(servers)} servers ({names}{more})."
        if action.warning:
            text += f" Of each: {action.warning}"
        confirm(text, [str(len(servers))], yes=yes)


def _show_plan(
    shared: Session,
    action: Action,
    options: Options,
    servers: Sequence[JsonObject],
    unknown: Sequence[bulk.Outcome],
) -> None:
    items = [
        {
            "server": server["name"],
            "state": server["state"],
            "verb": action.verb,
            "refusal": _refusal(action, server),
        }
        for server in servers
    ]
    items += [
        {"server": o.server, "state": None, "verb": action.verb, "refusal": why(o)} for o in unknown
    ]
    table = rows(
        ["SERVER", "STATE", "WOULD", prose("REFUSED")],
        (
            (
                item["server"],
                item["state"],
                "" if item["refusal"] else action.command,
                item["refusal"],
            )
            for item in items
        ),
    )
    shared.screen.show(options.output, {"items": items, "next": None}, table)
    refused = sum(bool(item["refusal"]) for item in items)
    text = f"Dry run: {action.command} would be requested of {len(items) - refused} servers"
    shared.screen.note(f"{text}, and {refused} refused." if refused else f"{text}.")


def _refusal(action: Action, server: JsonObject) -> str:
    """Why the service would refuse it, by what it says the state allows."""
    if action.verb == "retry":
        parked = server["operation"] and server["operation"]["state"] == "parked"
        return "" if parked else "no operation is parked"
    if server["state"] == "leased":
        return "is leased: use rackctl reservation"
    if action.verb in server["allowed_requests"]:
        return ""
    return f"allowed: {', '.join(server['allowed_requests']) or 'nothing'}"


def _show_outcomes(shared: Session, options: Options, outcomes: Sequence[bulk.Outcome]) -> None:
    items = [
        {
            "server": outcome.server,
            "state": outcome.answer["server"]["state"] if outcome.answer else None,
            "request": outcome.answer["request"] if outcome.answer else None,
            "failure": why(outcome),
        }
        for outcome in outcomes
    ]
    if options.output is Format.JSON:
        shared.screen.json({"items": items, "next": None})
    elif len(outcomes) == 1 and outcomes[0].answer:
        answer = outcomes[0].answer
        if answer["request"] and not answer["request"]["ended_at"]:
            shared.screen.note("The request waits in the server's queue.")
        shared.screen.out.print(server_page.server_table([answer["server"]]))
    else:
        shared.screen.out.print(_outcome_table(outcomes))


def _outcome_table(outcomes: Sequence[bulk.Outcome]) -> Rows:
    return rows(
        ["SERVER", "OUTCOME", "STATE", prose("FAILURE")],
        (
            (
                outcome.server,
                _outcome_word(outcome),
                outcome.answer["server"]["state"] if outcome.answer else "",
                why(outcome),
            )
            for outcome in outcomes
        ),
    )


def _outcome_word(outcome: bulk.Outcome) -> str:
    if outcome.answer is None:
        return "failed"
    request = outcome.answer["request"]
    return str(request["outcome"]) if request else "done"


def _said(outcome: bulk.Outcome) -> str:
    if outcome.answer is None:
        return f"failed: {why(outcome)}"
    return f"{_outcome_word(outcome)}, now {outcome.answer['server']['state']}"


def why(outcome: bulk.Outcome) -> str:
    return outcome.error.reason if outcome.error else ""


def finish(shared: Session, outcomes: Sequence[bulk.Outcome], word: str) -> None:
    """Sum up work on several servers, and raise if some of it failed."""
    failed = sum(outcome.error is not None for outcome in outcomes)
    if len(outcomes) > 1:
        shared.screen.note(f"{len(outcomes) - failed} of {len(outcomes)} {word}, {failed} failed.")
    if failed:
        raise SomeFailed(
            f"{failed} of {len(outcomes)} servers failed; see each one's reason above",
            bulk.exit_code(outcomes),
        )
