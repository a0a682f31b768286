"""rackctl server health and gpu: the health of servers and GPUs, and their findings."""

from collections.abc import Iterable
from typing import Annotated

import typer
from rich.console import Group, RenderableType

from provisioner.rackctl.client import JsonObject, path
from provisioner.rackctl.commands.completion import server_names
from provisioner.rackctl.formats import duration, local_time, seconds_since
from provisioner.rackctl.output import Format, Output, section, sheet
from provisioner.rackctl.session import Wide, session
from provisioner.rackctl.tables import Rows, extra, moment, prose, rows

gpus = typer.Typer(no_args_is_help=True, help="GPUs: their health and findings.")


def server_health(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the server.", autocompletion=server_names)],
    wide: Wide = False,
    output: Output = Format.TABLE,
) -> None:
    """Show a server's health: level, findings with their rules, GPUs."""
    shared = session(context)
    health = shared.api.get(path("servers", name, "health"))
    shared.screen.show(output, health, _page(health))


@gpus.command("list")
def list_gpus(
    context: typer.Context,
    *,
    bad: Annotated[bool, typer.Option("--bad", help="Only GPUs with findings.")] = False,
    server_class: Annotated[str | None, typer.Option("--class", help="Only this class.")] = None,
    rack: Annotated[str | None, typer.Option(help="Only this rack.")] = None,
    wide: Wide = False,
    output: Output = Format.TABLE,
) -> None:
    """List GPUs as last reported by their servers. A ramdisk without a driver reports none."""
    shared = session(context)
    found = shared.api.items(
        path("gpus"), {"bad": "true" if bad else None, "class": server_class, "rack": rack}
    )
    shared.screen.show(output, {"items": found, "next": None}, _finding_table(found))


def health_text(health: JsonObject | None) -> str:
    """`faulty for 3m12s: GPU 3 …`; empty for a server without a verdict."""
    if health is None:
        return ""
    if health["level"] is None:
        return "GPUs not read"
    text = f"{health['level']} for {duration(seconds_since(health['since']))}"
    return text if health["level"] == "ok" else f"{text}: {health['summary']}"


def _page(health: JsonObject) -> RenderableType:
    parts: list[RenderableType] = [
        sheet(
            [
                ("server", health["server"]),
                (
                    "health",
                    health["level"]
                    or ("GPUs not read" if health["judged_at"] else "no verdict yet"),
                ),
                ("since", local_time(health["since"])),
                ("summary", health["summary"]),
                ("action", health["action"]),
                ("last seen", _ago(health["seen_at"], f", from the {health['context']}")),
                ("GPUs", " ".join(filter(None, (health["state"], health["reason"])))),
                ("driver", health["driver"]),
                ("sensors", _sensors(health)),
            ]
        )
    ]
    if health["findings"]:
        parts.append(section("Findings", _findings(health["findings"])))
    if health["gpus"]:
        parts.append(section("GPUs", _gpu_table(health["gpus"])))
    return Group(*parts)


def _ago(moment: str | None, more: str = "") -> str:
    return f"{duration(seconds_since(moment))} ago{more}" if moment else "never"


def _sensors(health: JsonObject) -> str:
    read = f"read {_ago(health['sensors_read_at'])}" if health["sensors_read_at"] else ""
    return "; ".join(filter(None, (read, health["sensors_error"])))


def _findings(findings: Iterable[JsonObject]) -> Rows:
    return rows(
        ["LEVEL", "ACTION", "SINCE", prose("FINDING"), extra("SOURCE"), "PART"],
        (
            (
                found["level"],
                found["action"],
                moment(found["since"]),
                found["summary"],
                found["source"],
                found["part"],
            )
            for found in findings
        ),
    )


def _gpu_table(found: Iterable[JsonObject]) -> Rows:
    return rows(
        [
            "GPU",
            "HEALTH",
            "TEMPERATURE",
            "POWER",
            "UTILISATION",
            "MEMORY",
            extra("ECC"),
            extra("PRODUCT"),
            extra("UUID"),
        ],
        (
            (
                gpu["index"],
                gpu["level"],
                _with_unit(gpu["temperature_c"], "°C"),
                _with_unit(gpu["power_w"], "W"),
                _with_unit(gpu["utilization_percent"], "%"),
                _memory(gpu),
                _ecc(gpu),
                gpu["product"],
                gpu["uuid"],
            )
            for gpu in found
        ),
    )


def _finding_table(found: Iterable[JsonObject]) -> Rows:
    return rows(
        ["SERVER", "GPU", "HEALTH", "ACTION", extra("PRODUCT"), extra("UUID"), prose("FINDING")],
        (
            (
                gpu["server"],
                gpu["index"],
                gpu["level"],
                gpu["action"],
                gpu["product"],
                gpu["uuid"],
                gpu["summary"],
            )
            for gpu in found
        ),
    )


def _with_unit(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:.0f} {unit}"


def _memory(gpu: JsonObject) -> str:
    used, total = gpu["memory_used_mib"], gpu["memory_total_mib"]
    if used is None or total is None:
        return ""
    return f"{used / 1024:.1f} of {total / 1024:.1f} GiB"


def _ecc(gpu: JsonObject) -> str:
    """Corrected and uncorrected errors since the driver was loaded."""
    if gpu["ecc_corrected"] is None or gpu["ecc_uncorrected"] is None:
        return ""
    return f"{gpu['ecc_corrected']:.0f} / {gpu['ecc_uncorrected']:.0f}"
