"""A BMC's data about its server: sensor records (SDR), inventory (FRU) and the event log.

The bytes follow IPMI 2.0 section 43.1 (full sensor record) and the Platform Management FRU
Information Storage Definition 1.0 rev 1.3; `emulator_commands` passes them to ipmi_sim.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from lab.rack.plan import ServerPlan

_BMC = 0x20
_THRESHOLD, _SENSOR_SPECIFIC = 0x01, 0x6F
# Events off, readings on, no state asserted.
_READABLE = "disable scanning none" + 4 * " 000000000000000"
_ENTITY_PROCESSOR, _ENTITY_BOARD, _ENTITY_PSU, _ENTITY_FAN = 0x03, 0x07, 0x0A, 0x1D
_ENTITY_DRIVE, _ENTITY_MEMORY = 0x04, 0x20


@dataclass(frozen=True)
class Sensor:
    """A threshold sensor, or one without a number that has `states`.

    Readings and limits are raw bytes, in steps of `multiplier` units.
    """

    name: str
    kind: int
    """IPMI sensor type: 1 temperature, 2 voltage, 4 fan, 8 power supply, 0x0b other units, 0x0c
    memory, 0x0d drive, 0x27 network port."""
    unit: int = 0
    """IPMI base unit: 1 degree Celsius, 4 volt, 6 watt, 18 revolutions a minute."""
    entity: int = _ENTITY_BOARD
    reading: int = 0
    multiplier: int = 1
    exponent: int = 0
    """The step is `multiplier` times ten to this power (-8 to 7)."""
    lower_critical: int | None = None
    upper_critical: int | None = None
    states: tuple[int, ...] = ()
    """Offsets of IPMI 2.0 table 42-3, such as 0 for a present power supply, 3 for input lost."""

    @property
    def reading_type(self) -> int:
        return _SENSOR_SPECIFIC if self.states else _THRESHOLD


SENSORS = (
    Sensor("CPU Temp", 0x01, 1, _ENTITY_PROCESSOR, 46, upper_critical=95),
    Sensor("Inlet Temp", 0x01, 1, _ENTITY_BOARD, 23, upper_critical=42),
    Sensor("Fan 1", 0x04, 18, _ENTITY_FAN, 84, multiplier=100, lower_critical=12),
    Sensor("Fan 2", 0x04, 18, _ENTITY_FAN, 83, multiplier=100, lower_critical=12),
    Sensor("12V", 0x02, 4, _ENTITY_BOARD, 120, exponent=-1, lower_critical=108, upper_critical=132),
    Sensor("PSU Input", 0x0B, 6, _ENTITY_PSU, 35, multiplier=10, upper_critical=200),
    Sensor("PSU 1", 0x08, entity=_ENTITY_PSU, states=(0,)),
    Sensor("PSU 2", 0x08, entity=_ENTITY_PSU, states=(0,)),
    Sensor("DIMM A1", 0x0C, entity=_ENTITY_MEMORY, states=(6,)),
    Sensor("Drive 0", 0x0D, entity=_ENTITY_DRIVE, states=(0,)),
    Sensor("LAN 1", 0x27, entity=_ENTITY_BOARD, states=(1,)),
)


def emulator_commands(server: ServerPlan) -> str:
    """Return the command file that ipmi_sim reads on start."""
    lines = [
        "mc_setbmc 0x20",
        "mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02",
        "sel_enable 0x20 1000 0x0a",
        f"sel_add 0x20 0x02 {_hex(_power_on_event())}",
    ]
    fru = fru_image(server)
    lines.append(f"mc_add_fru_data 0x20 0 {len(fru)} data {_hex(fru)}")
    for number, sensor in enumerate(SENSORS, start=1):
        record = sensor_record(number, sensor)
        limits = (None, sensor.upper_critical, None, None, sensor.lower_critical, None)
        enabled = "".join("01"[limit is not None] for limit in limits)
        values = " ".join(str(limit or 0) for limit in limits)
        lines += [
            f"sensor_add 0x20 0 {number} {sensor.kind:#x} {sensor.reading_type:#x}",
            f"sensor_set_event_support 0x20 0 {number} {_READABLE}",
            f"sensor_set_threshold 0x20 0 {number} settable {enabled} {values}",
            # Compared to the thresholds when it is set.
            f"sensor_set_value 0x20 0 {number} {sensor.reading} 0",
            f"main_sdr_add 0x20 {_hex(record)}",
            *(f"sensor_set_bit 0x20 0 {number} {state} 1 0" for state in sensor.states),
        ]
    return "\n".join([*lines, "mc_enable 0x20", ""])


def sensor_record(number: int, sensor: Sensor) -> bytes:
    """Return the full sensor record (type 01h) of IPMI 2.0 table 43-1."""
    readable = (0x10 if sensor.upper_critical is not None else 0) | (
        0x02 if sensor.lower_critical is not None else 0
    )
    body = bytes(
        [
            *(_BMC, 0, number),  # owner, LUN, sensor number
            *(sensor.entity, 1),
            *(0x7F, 0x68),  # initialised at power-up; thresholds settable, auto re-arm
            *(sensor.kind, sensor.reading_type),
            *(0, 0, 0, 0),  # no threshold events
            *(readable, 0),  # readable and settable thresholds
            # Unsigned, or no number; base unit, no modifier.
            *(0xC0 if sensor.states else 0, sensor.unit, 0),
            0,  # linear
            *(sensor.multiplier & 0xFF, 0),
            *(0, 0, 0),  # offset and accuracy
            (sensor.exponent & 0x0F) << 4,
            *(0x01, sensor.reading, 0, 0),  # nominal reading given; no normal range
            *(0xFF, 0x00),  # sensor range
            *(0, sensor.upper_critical or 0, 0),
            *(0, sensor.lower_critical or 0, 0),
            *(1, 1, 0, 0, 0),  # hysteresis, reserved, OEM
            0xC0 | len(sensor.name),
        ]
    )
    body += sensor.name.encode("ascii")
    return bytes([0, 0, 0x51, 0x01, len(body)]) + body


def fru_image(server: ServerPlan) -> bytes:
    """Return the server's inventory: a product area alone, in at most 34 bytes.

    ipmi_sim refuses longer reads, and pyghmi asks for the whole at once.
    """
    # Manufacturer, product, part number, version, serial number, asset tag, FRU file.
    fields = ("IL", "VS", "", "", server.serial, "", "")
    body = b"".join(bytes([0xC0 | len(text)]) + text.encode("ascii") for text in fields)
    body = b"\0" + body + b"\xc1"  # English; no more fields
    length = -(-(len(body) + 3) // 8)  # with version and length before it and checksum after
    product = bytes([1, length]) + body + bytes(length * 8 - len(body) - 3)
    return _checked(bytes([1, 0, 0, 0, 1, 0, 0])) + _checked(product)


def _checked(data: bytes) -> bytes:
    """Return `data` with its zero checksum."""
    return data + bytes([-sum(data) & 0xFF])


def event(sensor: str, offset: int, *, asserted: bool = True) -> bytes:
    """Return a SEL record's bytes 4 to 16: a sensor entered or left one of its states now."""
    number, of = next((n, each) for n, each in enumerate(SENSORS, 1) if each.name == sensor)
    return _event(of.kind, number, offset, asserted)


def _power_on_event() -> bytes:
    """The power unit, which has no sensor here, is no longer off."""
    return _event(0x09, 0, 0, asserted=False)


def _event(kind: int, number: int, offset: int, asserted: bool) -> bytes:
    now = int(time.time()).to_bytes(4, "little")
    direction = 0 if asserted else 0x80
    # Generator, event format, sensor, event type and direction, offset, no further data.
    return now + bytes([_BMC, 0, 0x04, kind, number, direction | 0x6F, offset, 0xFF, 0xFF])


def _hex(data: bytes) -> str:
    return " ".join(f"{byte:#04x}" for byte in data)
