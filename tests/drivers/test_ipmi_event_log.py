"""What is new in the event log of a real `ipmi_sim` BMC, read from where it was left."""

from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import pytest
from ipmi_simulator import SimulatedBmc
from pyghmi.ipmi.private import constants

from lab.rack.bmc_records import event
from provisioner.domain.health.bmc_states import BmcState
from provisioner.domain.health.sensors import SensorHealth
from provisioner.drivers.bmc import LogEntry, LogPosition
from provisioner.drivers.bmc import ipmi_event_log as reader
from provisioner.drivers.bmc.ipmi import IpmiBmc
from provisioner.drivers.bmc.ipmi_event_log import read_new_log_entries

MEMORY_ERROR = BmcState(0x0C, 0x6F, 1)


def said(entries: Sequence[LogEntry]) -> list[tuple[str, BmcState | None, bool]]:
    return [(entry.source, entry.state, entry.asserted) for entry in entries]


async def test_a_fault_that_is_logged_is_read_once_with_its_sensor_and_state(
    ipmi: IpmiBmc, bmc: SimulatedBmc
) -> None:
    before = await ipmi.new_log_entries(bmc.target, None)
    assert not before.follows
    await bmc.log(event("DIMM A1", 1))
    await bmc.log(event("Drive 0", 1))
    await bmc.log(event("Drive 0", 1, asserted=False))
    new = await ipmi.new_log_entries(bmc.target, before.position)
    assert new.follows
    assert said(new.entries) == [
        ("DIMM A1", MEMORY_ERROR, True),
        ("Drive 0", BmcState(0x0D, 0x6F, 1), True),
        ("Drive 0", BmcState(0x0D, 0x6F, 1), False),
    ]
    assert all(entry.at is not None for entry in new.entries)
    again = await ipmi.new_log_entries(bmc.target, new.position)
    assert (again.entries, again.position, again.follows) == ((), new.position, True)


async def test_the_end_is_read_of_a_log_that_was_cleared(ipmi: IpmiBmc, bmc: SimulatedBmc) -> None:
    position = (await ipmi.new_log_entries(bmc.target, None)).position
    assert position is not None
    await bmc.log(event("DIMM A1", 1))
    for gone in (replace(position, time=position.time - 1), LogPosition(0x7000, 1)):
        part = await ipmi.new_log_entries(bmc.target, gone)
        assert not part.follows
        assert ("DIMM A1", MEMORY_ERROR, True) in said(part.entries)


async def test_a_long_log_is_read_in_parts(
    ipmi: IpmiBmc, bmc: SimulatedBmc, monkeypatch: pytest.MonkeyPatch
) -> None:
    position = (await ipmi.new_log_entries(bmc.target, None)).position
    monkeypatch.setattr(reader, "MOST_AT_ONCE", 2)
    for _ in range(3):
        await bmc.log(event("DIMM A1", 0))
    parts = []
    for _ in range(3):
        part = await ipmi.new_log_entries(bmc.target, position)
        parts.append(len(part.entries))
        position = part.position
    assert parts == [2, 1, 0]


class Log:
    """Stands in for pyghmi's Command on a BMC whose log is what a test says."""

    def __init__(self, *records: tuple[int, bytes]) -> None:
        self._records = records

    def raw_command(self, netfn: int, command: int, data: tuple[int, ...]) -> dict[str, object]:
        number = data[2] | data[3] << 8
        index = {0: 0, 0xFFFF: len(self._records) - 1}.get(number, number - 1)
        if not 0 <= index < len(self._records):
            return {"code": 0xCB, "error": "no such record", "data": b""}
        following, record = self._records[index]
        return {"code": 0, "data": following.to_bytes(2, "little") + record}

    def xraw_command(self, **_: object) -> dict[str, bytes]:
        return {"data": bytes(4)}

    def init_sdr(self) -> SimpleNamespace:
        return SimpleNamespace(sensors={})

    def get_event_constants(self) -> ModuleType:
        return constants

    def oem_init(self) -> None:
        self._oem = SimpleNamespace(process_event=lambda *_: None)


def memory_error(number: int) -> bytes:
    return number.to_bytes(2, "little") + b"\x02" + event("DIMM A1", 1)


def test_a_record_that_cannot_be_read_does_not_hide_the_others() -> None:
    log = Log((2, memory_error(1)), (3, b"\x02\x00"), (0xFFFF, memory_error(3)))
    part = read_new_log_entries(log, None)  # type: ignore[arg-type]
    assert [entry.state for entry in part.entries] == [MEMORY_ERROR, None, MEMORY_ERROR]


def test_a_log_that_leads_in_a_circle_ends() -> None:
    log = Log((2, memory_error(1)), (1, memory_error(2)))
    part = read_new_log_entries(log, None)  # type: ignore[arg-type]
    assert len(part.entries) == reader.MOST_AT_ONCE


def test_an_empty_log_is_no_fault() -> None:
    part = read_new_log_entries(Log(), None)  # type: ignore[arg-type]
    assert (part.entries, part.position) == ((), None)


async def test_sensors_tell_their_states_as_the_specification_numbers_them(
    ipmi: IpmiBmc, bmc: SimulatedBmc
) -> None:
    sensors = {sensor.name: sensor for sensor in await ipmi.sensors(bmc.target)}
    dimm, port = sensors["DIMM A1"], sensors["LAN 1"]
    assert (dimm.kind, dimm.conditions) == ("Memory", (BmcState(0x0C, 0x6F, 6),))
    assert (port.kind, port.conditions) == ("LAN", (BmcState(0x27, 0x6F, 1),))
    assert {dimm.health, port.health} == {SensorHealth.OK}
