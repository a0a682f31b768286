"""What real `ipmi_sim` BMCs report about failing parts."""

import asyncio
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest
from ipmi_simulator import SimulatedBmc, StartBmc
from pyghmi.constants import Health

from lab.rack import bmc_records
from provisioner.domain.health.sensors import SensorHealth
from provisioner.drivers.bmc import Power, PowerAction
from provisioner.drivers.bmc import ipmi as driver
from provisioner.drivers.bmc.base import Sensor
from provisioner.drivers.bmc.ipmi import IpmiBmc
from provisioner.drivers.bmc.ipmi_readings import BlockingCommand, read_sensors

_FAN_STANDS_STILL = {"Fan 1": {"reading": 0}}
_INPUT_LOST = {"PSU 2": {"states": (0, 3)}}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (_FAN_STANDS_STILL, ("Fan", 0.0, ("lower critical threshold",))),
        (_INPUT_LOST, ("Power Supply", None, ("Present", "Power input lost"))),
    ],
)
async def test_a_sensor_tells_what_is_wrong(
    ipmi: IpmiBmc,
    start_bmc: StartBmc,
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, dict[str, object]],
    told: tuple[object, ...],
) -> None:
    wrong = tuple(replace(s, **changed.get(s.name, {})) for s in bmc_records.SENSORS)
    monkeypatch.setattr(bmc_records, "SENSORS", wrong)
    bmc = await start_bmc()
    sensors = {sensor.name: sensor for sensor in await ipmi.sensors(bmc.target)}
    (name,) = changed
    sensor = sensors.pop(name)
    assert (sensor.kind, sensor.value, sensor.states) == told
    assert sensor.health is SensorHealth.CRITICAL
    assert {other.health for other in sensors.values()} == {SensorHealth.OK}


async def test_a_long_reading_gives_way_to_a_command_and_is_made_after_it(
    ipmi: IpmiBmc, bmc: SimulatedBmc, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, enough = threading.Event(), threading.Event()

    def read_many(command: BlockingCommand) -> list[Sensor]:
        while not enough.is_set():
            command.raw_command(netfn=0x06, command=0x01)
            begun.set()
        return []

    monkeypatch.setattr(driver, "read_sensors", read_many)
    reading = asyncio.create_task(ipmi.sensors(bmc.target))
    await asyncio.to_thread(begun.wait)
    await ipmi.set_power(bmc.target, PowerAction.ON)
    assert await ipmi.power(bmc.target) is Power.ON
    assert not reading.done()
    enough.set()
    assert await reading == []


class Readings:
    """Stands in for pyghmi's Command, with readings as its decoders make them."""

    def __init__(self, **reading: object) -> None:
        self._reading = SimpleNamespace(
            **{"value": None, "units": "", "unavailable": 0, "states": [], "health": 0} | reading
        )

    def get_sensor_data(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="Fan 1", type="Fan", **vars(self._reading))]


@pytest.mark.parametrize(
    ("reading", "health"),
    [
        ({"health": Health.Ok}, SensorHealth.OK),
        ({"health": Health.Warning}, SensorHealth.WARNING),
        ({"health": Health.Critical | Health.Warning}, SensorHealth.CRITICAL),
        ({"health": Health.Failed}, SensorHealth.FAILED),
        ({"unavailable": 1}, SensorHealth.UNAVAILABLE),
        ({"health": 0x40}, SensorHealth.UNKNOWN),
        ({"health": 0x40 | Health.Critical}, SensorHealth.CRITICAL),
        ({"health": None}, SensorHealth.UNKNOWN),
    ],
)
def test_whatever_pyghmi_tells_of_a_sensor_has_its_word(
    reading: dict[str, object], health: SensorHealth
) -> None:
    (sensor,) = read_sensors(Readings(**reading))  # type: ignore[arg-type]
    assert sensor.health is health
