"""Servers as tables, and the page of one server, from the API's objects."""

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from provisioner.rackctl.client import Api, JsonObject, path
from provisioner.rackctl.commands.health import health_text
from provisioner.rackctl.formats import duration, local_time, plain, seconds_since, size
from provisioner.rackctl.output import section, sheet
from provisioner.rackctl.tables import Ids, Rows, extra, moment, prose, rows

_LOG_TAIL = 15
"""Lines of the failing step's log on a server's page."""
_SETTLED = frozenset({"running", "done"})


def step_text(operation: JsonObject | None) -> str:
    """`image/write_image (parked, attempt 3)`."""
    if operation is None:
        return ""
    notes = [operation["state"]] if operation["state"] != "running" else []
    if operation["attempt"]:
        notes.append(f"attempt {operation['attempt'] + 1}")
    text = f"{operation['verb']}/{operation['step']}"
    return f"{text} ({', '.join(notes)})" if notes else text


def server_table(servers: Iterable[JsonObject]) -> Rows:
    return rows(
        [
            "NAME",
            extra("CLASS"),
            extra("RACK"),
            "STATE",
            "HEALTH",
            "STEP",
            "FOR",
            prose("REASON"),
            prose("NEXT ACTION"),
        ],
        (
            (
                server["name"],
                server["class"],
                server["rack"],
                server["state"],
                server["health"] and (server["health"]["level"] or "not read"),
                step_text(server["operation"]),
                duration(server["seconds_in_state"]),
                server["reason"],
                server["next_action"],
            )
            for server in servers
        ),
    )


def page(api: Api, server: JsonObject) -> RenderableType:
    """Everything about one server; fetches its operation's steps and log."""
    operation = _operation(api, server)
    parts: list[RenderableType] = [_summary(server)]
    if server["disks"]:
        parts.append(section("Disks", _disks(server["disks"])))
    if server["incidents"]:
        parts.append(section("Open incidents", incident_table(server["incidents"])))
    if operation is not None:
        title = f"Operation {operation['id']} ({operation['verb']}, {operation['state']})"
        parts.append(section(title, step_table(operation["steps"])))
        if operation["state"] not in _SETTLED or server["incidents"]:
            parts += _log_tail(api, operation)
    return Group(*parts)


def _operation(api: Api, server: JsonObject) -> JsonObject | None:
    """The running operation, or the latest one of a server that needs a person."""
    if server["operation"]:
        return api.get(path("operations", server["operation"]["id"]))
    if not server["incidents"] and server["state"] != "quarantined":
        return None
    latest = api.items(path("operations"), {"server": server["name"]}, at_most=1)
    return api.get(path("operations", latest[0]["id"])) if latest else None


def _summary(server: JsonObject) -> Table:
    bmc = server["bmc"]
    lease = server["lease"]
    agent = server["agent"]
    return sheet(
        [
            ("server", f"{server['name']} ({server['id']})"),
            ("state", server["state"]),
            (
                "since",
                f"{local_time(server['state_since'])}, {duration(server['seconds_in_state'])}",
            ),
            ("reason", server["reason"]),
            ("next action", server["next_action"]),
            ("requested", ", ".join(request["verb"] for request in server["requests"])),
            ("allowed", ", ".join(server["allowed_requests"])),
            ("step", step_text(server["operation"])),
            ("lease", lease and f"{lease['id']} until {local_time(lease['ends_at'])}"),
            ("reservation", lease and lease.get("reservation")),
            ("account", lease and lease.get("account")),
            ("agent", agent and _agent(agent)),
            ("health", health_text(server["health"])),
            ("class", server["class"]),
            ("location", f"{server['site']} / {server['rack']}"),
            ("serial", server["serial"]),
            ("address", f"{server['address']} ({server['boot_mac']})"),
            (
                "BMC",
                f"{bmc['protocol']} {bmc['username']}@{bmc['address']}:{bmc['port']}",
            ),
            ("last used", local_time(server["last_used_at"])),
            ("facts", _facts(server["facts"])),
        ]
    )


def _agent(agent: JsonObject) -> str:
    seen = duration(seconds_since(agent["seen_at"]))
    return f"in the {agent['context']}, seen {seen} ago, up {duration(agent['uptime_s'])}"


def _facts(facts: JsonObject) -> str:
    """The facts that fit on one line; the rest is in the JSON output."""
    return ", ".join(
        f"{name} {value}" for name, value in facts.items() if isinstance(value, str | int | float)
    )


def _disks(disks: Sequence[JsonObject]) -> Rows:
    short = Ids(disk["certificate"] for disk in disks)
    return rows(
        ["SERIAL", "MODEL", "SIZE", extra("TRANSPORT"), "PRESENT", "SANITISED", "CERTIFICATE"],
        (
            (
                disk["serial"],
                disk["model"],
                size(disk["size_bytes"]),
                disk["transport"],
                disk["present"],
                disk["sanitised"],
                short(disk["certificate"]),
            )
            for disk in disks
        ),
    )


def incident_table(incidents: Sequence[JsonObject]) -> Rows:
    short = Ids(incident["id"] for incident in incidents)
    return rows(
        [
            "INCIDENT",
            "ABOUT",
            "KIND",
            extra("OWNER"),
            "OPENED",
            extra("CLOSED"),
            prose("REASON"),
            prose("NEXT ACTION"),
        ],
        (
            (
                short(incident["id"]),
                incident.get("server") or incident.get("reservation"),
                incident["kind"],
                incident.get("assignee") or incident.get("acknowledged_by"),
                moment(incident["opened_at"]),
                moment(incident.get("closed_at")),
                incident["reason"],
                incident["next_action"],
            )
            for incident in incidents
        ),
    )


def step_table(steps: Iterable[JsonObject]) -> Rows:
    return rows(
        ["STEP", "STARTED", "TOOK", "OUTCOME", prose("DETAIL")],
        (
            (
                step["step"],
                moment(step["started_at"]),
                duration(step["seconds"]),
                step["outcome"],
                step["detail"],
            )
            for step in steps
        ),
    )


def _log_tail(api: Api, operation: JsonObject) -> list[RenderableType]:
    lines = [
        line
        for line in api.items(path("operations", operation["id"], "log"))
        if line["step"] == operation["step"]
    ][-_LOG_TAIL:]
    if not lines:
        return []
    text = Text("\n").join(Text(plain(line["text"])) for line in lines)
    return [section(f"Log of {operation['step']}, last {len(lines)} lines", text)]
