"""The health of servers and GPUs as operators see it: the last verdict, the newest report."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import zip_longest
from typing import Any, NamedTuple

from pydantic import Field
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.hardware import gpus_are_read, missing_gpus
from provisioner.domain.health import Finding, Sample, Verdict
from provisioner.domain.health.gauges import gauges
from provisioner.domain.health.levels import HealthAction, HealthLevel
from provisioner.domain.health.rule import Scope
from provisioner.domain.health.rules import BY_NAME
from provisioner.service.views.base import PageQuery, View
from provisioner.store.tables import AgentIdentity, BmcReading, Server, ServerHealth

_SERVERS_A_LOOK = 50
"""Servers whose reports are read at once: a report of eight GPUs has 13 kB."""


class HealthView(View, title="HealthSummary"):
    """Summary of the last verdict on a server."""

    level: HealthLevel | None
    """Health of the server. Null while nothing is found, but the GPUs that it should have are not
    read."""
    action: HealthAction
    """What repairs it."""
    summary: str
    """The worst finding in a sentence. Empty when nothing is found."""
    since: datetime
    """Since when the server has been at this level."""


class FindingView(View, title="Finding"):
    """One thing that is wrong with a server or a part of it."""

    part: str
    """`server`, the UUID of a GPU, or the name of a disk or link."""
    level: HealthLevel
    """Severity of the finding."""
    action: HealthAction
    """What repairs it."""
    summary: str
    """What was found, in a sentence."""
    source: str
    """Document or specification that the rule follows."""
    since: datetime
    """Since when it has applied."""


class GpuView(View, title="Gpu"):
    """One GPU with its worst finding and its readings from the server's newest report. Readings
    are null if the GPU did not provide them."""

    server: str
    """Name of the server."""
    class_: str = Field(alias="class")
    """Class of the server."""
    rack: str
    """Rack of the server."""
    index: int | None
    """Number of the GPU in its server. Null if it is not known."""
    uuid: str
    """UUID of the GPU, or its PCI address if no UUID is known. Empty if neither is."""
    product: str
    """Product name. Empty if unknown."""
    level: HealthLevel
    """Health of the GPU."""
    action: HealthAction
    """What repairs it."""
    summary: str
    """The worst finding in a sentence. Empty when nothing is found."""
    seen_at: datetime | None
    """When the server's agent last reported. Null if it never did."""
    lost: bool
    """Whether the GPU has fallen off the bus, or the server should have it and it is missing."""
    temperature_c: float | None
    """Temperature in degrees Celsius. Null when not read."""
    power_w: float | None
    """Power draw in watts. Null when not read."""
    utilization_percent: float | None
    """Share of time in which the GPU was busy, in percent. Null when not read."""
    memory_used_mib: float | None
    """Memory in use in MiB. Null when not read."""
    memory_total_mib: float | None
    """Size of the memory in MiB. Null when not read."""
    ecc_corrected: float | None
    """Corrected memory errors since the driver was loaded. Null when not read."""
    ecc_uncorrected: float | None
    """Uncorrected memory errors since the driver was loaded. Null when not read."""


class ServerHealthView(View, title="ServerHealth"):
    """The health of a server, and the findings behind it."""

    server: str
    """Name of the server."""
    level: HealthLevel | None
    """Health of the server. Null until it is judged for the first time, and while nothing is found
    but the GPUs that it should have are not read."""
    action: HealthAction | None
    """What repairs it. Null until it is judged for the first time."""
    summary: str
    """The worst finding in a sentence. Empty when nothing is found."""
    since: datetime | None
    """Since when the server has been at this level. Null until it is judged for the first time."""
    judged_at: datetime | None
    """When the verdict last changed or was confirmed. Null until the first verdict."""
    seen_at: datetime | None
    """When the server's agent last reported. Null if it never did."""
    context: str
    """Where that agent runs: `ramdisk` or `tenant`. Empty if it never reported."""
    state: str
    """State of reading the GPUs: `ok`, `starting`, `absent`, `hung` or `failed`. Empty if the
    agent never reported it."""
    reason: str
    """Why the GPUs cannot be read. Empty if they can."""
    driver: str
    """Version of the GPU driver. Empty if unknown."""
    sensors_read_at: datetime | None
    """When the BMC's sensors were last read. Null if they never were."""
    sensors_error: str
    """Why there is no newer sensor reading. Empty if the last reading succeeded."""
    findings: list[FindingView]
    """What is wrong, worst first."""
    gpus: list[GpuView]
    """The server's GPUs."""


class GpuQuery(PageQuery):
    bad: bool = False
    """Only GPUs with a finding."""
    class_: str | None = Field(default=None, alias="class")
    """Only servers of this class."""
    rack: str | None = None
    """Only servers of this rack."""


class Heard(NamedTuple):
    """A server's newest report, and when it arrived."""

    at: datetime
    report: Mapping[str, Any]

    @property
    def health(self) -> Mapping[str, Any]:
        """The report's health data; empty if the agent does not collect any."""
        return self.report.get("health") or {}


async def newest_reports(
    session: AsyncSession, server_ids: Sequence[str], *, since: datetime | None = None
) -> dict[str, Heard]:
    """Return each server's newest report, from whichever agent; `since` leaves out older ones and
    those of agents that no longer report for the server."""
    heard = select(
        col(AgentIdentity.id),
        func.row_number()
        .over(partition_by=col(AgentIdentity.server_id), order_by=col(AgentIdentity.seen_at).desc())
        .label("place"),
    ).where(col(AgentIdentity.server_id).in_(server_ids), col(AgentIdentity.seen_at).is_not(None))
    if since is not None:
        heard = heard.where(
            col(AgentIdentity.seen_at) >= since, col(AgentIdentity.revoked_at).is_(None)
        )
    newest = heard.subquery()
    found = await session.exec(
        select(AgentIdentity.server_id, AgentIdentity.seen_at, AgentIdentity.report)
        .join(newest, newest.c.id == col(AgentIdentity.id))
        .where(newest.c.place == 1)
    )
    return {server: Heard(at, report) for server, at, report in found.all() if at is not None}


async def verdicts(session: AsyncSession, server_ids: Sequence[str]) -> dict[str, ServerHealth]:
    found = await session.exec(
        select(ServerHealth).where(col(ServerHealth.server_id).in_(server_ids))
    )
    return {row.server_id: row for row in found.all()}


def level_shown(
    row: ServerHealth | None, server: Server, health: Mapping[str, Any]
) -> HealthLevel | None:
    """Return the level of a verdict, if anything was read that `ok` could be true of."""
    if row is None or (row.level is HealthLevel.OK and not gpus_are_read(server.expect, health)):
        return None
    return row.level


def health_view(
    row: ServerHealth | None, server: Server, health: Mapping[str, Any]
) -> HealthView | None:
    """Return the summary of a verdict beside the health in the server's newest report."""
    if row is None:
        return None
    return HealthView(
        level=level_shown(row, server, health),
        action=row.action,
        summary=row.summary,
        since=row.level_since,
    )


async def gpu_views(session: AsyncSession, servers: Sequence[Server]) -> list[list[GpuView]]:
    """Return the GPUs of each server, in the servers' order."""
    ids = [server.id for server in servers]
    heard, judged = await newest_reports(session, ids), await verdicts(session, ids)
    return [
        _gpus(server, heard.get(server.id), _findings(judged.get(server.id))) for server in servers
    ]


async def server_health_view(session: AsyncSession, server: Server) -> ServerHealthView:
    row = (await verdicts(session, [server.id])).get(server.id)
    heard = (await newest_reports(session, [server.id])).get(server.id)
    sensors = await session.get(BmcReading, server.id)
    findings = _findings(row)
    health = heard.health if heard else {}
    return ServerHealthView(
        server=server.name,
        level=level_shown(row, server, health),
        action=row.action if row else None,
        summary=row.summary if row else "",
        since=row.level_since if row else None,
        judged_at=row.judged_at if row else None,
        seen_at=heard.at if heard else None,
        context=str(heard.report.get("context", "")) if heard else "",
        state=str(health.get("state", "")),
        reason=str(health.get("reason", "")),
        driver=str(health.get("driver", "")),
        sensors_read_at=sensors.read_at if sensors else None,
        sensors_error=sensors.error if sensors else "",
        findings=[FindingView.model_validate(f, from_attributes=True) for f in findings],
        gpus=_gpus(server, heard, findings),
    )


def _findings(row: ServerHealth | None) -> Sequence[Finding]:
    return Verdict.from_dict(row.verdict).findings if row else ()


def _gpus(server: Server, heard: Heard | None, findings: Sequence[Finding]) -> list[GpuView]:
    worst: dict[str, Finding] = {}
    for finding in findings:
        if _scope(finding) is Scope.GPU:
            worst.setdefault(finding.part, finding)  # the worst comes first
    seen = {}
    if heard is not None:
        parts = Sample.of(heard.report, heard.at).parts()
        seen = {part.key: part.values for part in parts if part.scope is Scope.GPU}
    views = [_gpu(server, heard, key, values, worst.get(key)) for key, values in seen.items()]
    unseen = sorted((f for key, f in worst.items() if key not in seen), key=lambda f: f.summary)
    lost = []
    if heard is not None and heard.health.get("state") == "ok":
        lost = missing_gpus(server.expect, server.facts, list(seen.values()))
    for missing, finding in zip_longest(lost, unseen):
        key = finding.part if finding else missing.pci
        values = {"index": missing.number, "lost": True} if missing else {}
        views.append(_gpu(server, heard, key, values, finding))
    return sorted(views, key=lambda view: (view.index is None, view.index))


def _scope(finding: Finding) -> Scope:
    rule = BY_NAME.get(finding.rule)
    return rule.scope if rule else Scope.GPU  # an XID


def _gpu(
    server: Server, heard: Heard | None, key: str, values: Any, worst: Finding | None
) -> GpuView:
    shown, lost = gauges(values), bool(values.get("lost", False))
    if worst:
        level, action, summary = worst.level, worst.action, worst.summary
    elif lost:
        level, action = HealthLevel.FAULTY, HealthAction.QUARANTINE
        summary = f"GPU {values['index']} is missing"
    else:
        level, action, summary = HealthLevel.OK, HealthAction.NONE, ""
    return GpuView(
        server=server.name,
        class_=server.class_name,
        rack=server.rack,
        index=values.get("index"),
        uuid=key,
        product=values.get("name", ""),
        level=level,
        action=action,
        summary=summary,
        seen_at=heard.at if heard else None,
        lost=lost,
        temperature_c=shown.get("temperature_c"),
        power_w=shown.get("power_w"),
        utilization_percent=shown.get("utilization_percent"),
        memory_used_mib=shown.get("memory_used_mib"),
        memory_total_mib=values.get("memory_total_mib"),
        ecc_corrected=shown.get("ecc_corrected"),
        ecc_uncorrected=shown.get("ecc_uncorrected"),
    )


async def gpus_by_server(session: AsyncSession, query: GpuQuery) -> list[tuple[str, int, GpuView]]:
    """Return GPUs after the cursor, with their server's name and their position in it. A page may
    end in the middle of a server."""
    name, _, place = (query.cursor or "").rpartition("/")
    after = (name, int(place) if place.isascii() and place.isdecimal() else -1)
    statement = select(Server).order_by(col(Server.name)).limit(_SERVERS_A_LOOK)
    if query.bad:
        statement = statement.join(ServerHealth).where(ServerHealth.level != HealthLevel.OK)
    if query.class_ is not None:
        statement = statement.where(Server.class_name == query.class_)
    if query.rack is not None:
        statement = statement.where(Server.rack == query.rack)
    rows: list[tuple[str, int, GpuView]] = []
    looked = statement.where(col(Server.name) >= name)
    while len(rows) < query.fetch:
        servers = (await session.exec(looked)).all()
        for row, gpus in zip(servers, await gpu_views(session, servers), strict=True):
            rows += [
                (row.name, number, gpu)
                for number, gpu in enumerate(gpus)
                if (row.name, number) > after and not (query.bad and gpu.level is HealthLevel.OK)
            ]
        if len(servers) < _SERVERS_A_LOOK:
            break
        looked = statement.where(col(Server.name) > servers[-1].name)
    return rows
