"""What the server's BMC says and does, asked for by a person."""

from datetime import datetime

from provisioner.domain.access import Permission
from provisioner.domain.health.sensors import SensorHealth
from provisioner.domain.lifecycle import State
from provisioner.domain.refusals import Refusal, RefusalKind
from provisioner.drivers.bmc import BmcTarget, Power, PowerAction
from provisioner.fleet.servers import bmc_target, server_named
from provisioner.service.http.endpoint import Body, Call
from provisioner.service.views.base import Page, View
from provisioner.store import audit

_BY_HAND = (State.QUARANTINED, State.MAINTENANCE)
"""States in which the reconciler leaves the power alone."""


class PowerRequest(
    Body, title="PowerRequest", json_schema_extra={"examples": [{"action": "cycle"}]}
):
    """What to do to a server's power."""

    action: PowerAction
    """The action."""
    force: bool = False
    """Act even while the provisioner is at work on the server. Only for administrators."""


class PowerView(View, title="ServerPower"):
    """Whether a server is on."""

    power: Power
    """What the BMC reports."""


class SensorView(View, title="Sensor"):
    """A reading of a sensor."""

    name: str
    """Name of the sensor."""
    kind: str
    """What the sensor measures."""
    value: float | None
    """The reading in `unit`. Null when the sensor has a state and no number."""
    unit: str
    """Unit of the reading. Empty without a number."""
    health: SensorHealth
    """How the part is, as the BMC reports it."""


class LogEntryView(View, title="BmcLogEntry"):
    """A record of the BMC's system event log."""

    at: datetime | None
    """When it happened, by the BMC's clock. Null when the BMC does not know."""
    source: str
    """Sensor or part that the record is about."""
    text: str
    """What happened."""
    severity: str
    """How severe the BMC considers it."""


class BmcInventoryView(View, title="BmcInventory"):
    """Parts of a server as its BMC knows them."""

    items: dict[str, dict[str, str]]
    """Name and value of each part's attributes, by the name of the part."""


async def _target(call: Call) -> BmcTarget:
    async with call.services.database.read() as session:
        server = await server_named(session, call.path("name"))
    return bmc_target(server, call.services.secret_box)


async def power(call: Call) -> PowerView:
    """Ask the BMC whether the server is on."""
    return PowerView(power=await call.services.bmc.power(await _target(call)))


async def set_power(call: Call, body: PowerRequest) -> PowerView:
    """Switch the server on or off, reset it or power-cycle it.

    The answer is what the BMC reports afterwards.
    """
    if body.force:
        call.actor.require(Permission.OVERRIDE)
    async with call.services.database.write() as session:
        server = await server_named(session, call.path("name"))
        if server.state not in _BY_HAND and not body.force:
            raise Refusal(
                RefusalKind.CONFLICT,
                "power_not_allowed",
                f"{server.name} is {server.state.value}: its power is the provisioner's to switch",
                next_action="ask for maintenance or quarantine first "
                "(an administrator may force it)",
            )
        audit.record(
            session,
            call.actor,
            "server.power",
            server.id,
            call.now(),
            power_action=body.action.value,
            force=body.force,
        )
    target = bmc_target(server, call.services.secret_box)
    await call.services.bmc.set_power(target, body.action)
    return PowerView(power=await call.services.bmc.power(target))


async def sensors(call: Call) -> Page[SensorView]:
    """Read the server's sensors."""
    found = await call.services.bmc.sensors(await _target(call))
    return Page(items=[SensorView.model_validate(s, from_attributes=True) for s in found])


async def event_log(call: Call) -> Page[LogEntryView]:
    """Read the BMC's system event log."""
    found = await call.services.bmc.event_log(await _target(call))
    return Page(items=[LogEntryView.model_validate(e, from_attributes=True) for e in found])


async def inventory(call: Call) -> BmcInventoryView:
    """Read parts and serial numbers from the BMC (FRU)."""
    return BmcInventoryView(items=await call.services.bmc.inventory(await _target(call)))
