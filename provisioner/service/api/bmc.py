"""What a server's BMC reports, read on request."""

from datetime import datetime

from provisioner.domain.health.sensors import SensorHealth
from provisioner.drivers.bmc import BmcTarget, Power
from provisioner.fleet.servers import bmc_target, server_named
from provisioner.service.http.endpoint import Call
from provisioner.service.views.base import Page, View


class PowerView(View, title="ServerPower"):
    """Whether a server is on."""

    power: Power
    """Power state, as the BMC reports it."""


class SensorView(View, title="Sensor"):
    """A sensor's reading."""

    name: str
    """Name of the sensor."""
    kind: str
    """What the sensor measures."""
    value: float | None
    """The reading in `unit`. Null if the sensor has a state instead of a number."""
    unit: str
    """Unit of the reading. Empty if there is no number."""
    health: SensorHealth
    """Health of the part, as the BMC reports it."""


class LogEntryView(View, title="BmcLogEntry"):
    """A record of the BMC's system event log."""

    at: datetime | None
    """When it happened, by the BMC's clock. Null if the BMC does not know."""
    source: str
    """Sensor or part that the record is about."""
    text: str
    """What happened."""
    severity: str
    """Severity that the BMC assigned."""


class BmcInventoryView(View, title="BmcInventory"):
    """Parts of a server, as its BMC reports them."""

    items: dict[str, dict[str, str]]
    """Names and values of each part's attributes, by the name of the part."""


async def _target(call: Call) -> BmcTarget:
    async with call.services.database.read() as session:
        server = await server_named(session, call.path("name"))
    return bmc_target(server, call.services.secret_box)


async def power(call: Call) -> PowerView:
    """Ask the BMC whether the server is on."""
    return PowerView(power=await call.services.bmc.power(await _target(call)))


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
