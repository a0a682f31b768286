"""What real `ipmi_sim` BMCs tell of parts that fail."""

from dataclasses import replace

import pytest
from conftest import StartBmc

from lab.rack import bmc_records
from provisioner.drivers.bmc.ipmi import IpmiBmc

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
    assert sensor.health == "critical"
    assert {other.health for other in sensors.values()} == {"ok"}
