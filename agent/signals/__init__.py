"""Every signal of a machine's health: its name in a report, its kind and meaning.

Both sides check reports against these tables, and the documentation prints them. `agent.nvml` and
`agent.hardware` read the signals; the provisioner judges them. A signal that a part does not have
is absent, which is not the same as zero.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

Values = dict[str, Any]

# Most parts of one kind, entries in one list and characters in one text; more is invalid.
MOST_PARTS = 64
MOST_ENTRIES = 64
MOST_CHARACTERS = 300
_LARGEST = 1 << 63
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
"""NUL, which databases cannot keep, and halves of surrogate pairs, which UTF-8 cannot."""


class Signal(NamedTuple):
    """`every_s` is the time between readings; 0 for events, which are reported as they happen."""

    name: str
    kind: str
    every_s: int
    meaning: str


SERVER = (
    Signal("state", "text", 0, "State of the GPUs: starting, ok, absent, hung, failed"),
    Signal("reason", "text", 0, "Why the state is not ok"),
    Signal("driver", "text", 60, "Driver version"),
    Signal("nvml", "text", 60, "NVML version"),
    Signal("read_s", "number", 0, "When the GPUs were last read, in seconds since boot"),
    Signal("hardware_hung", "flag", 1, "Reading disks, memory and links hangs"),
    Signal("gpus_on_bus", "count", 60, "NVIDIA GPUs on the PCI bus, with or without a driver"),
    Signal("memory_corrected", "count", 60, "Corrected errors in main memory since boot (EDAC)"),
    Signal("memory_uncorrected", "count", 60, "Uncorrectable errors in main memory since boot"),
)

GPU = (
    Signal("index", "count", 60, "Index in the driver"),
    Signal("uuid", "text", 60, "Permanent identifier"),
    Signal("pci", "text", 60, "PCI address"),
    Signal("serial", "text", 60, "Serial number of the board"),
    Signal("name", "text", 60, "Product name"),
    Signal("vbios", "text", 60, "Firmware version"),
    Signal("lost", "flag", 1, "Fallen off the bus: nothing else can be read"),
    Signal("errors", "texts", 0, "NVML functions that fail, with error codes"),
    Signal("recovery_action", "count", 5, "Recovery the driver asks for (NVML field 230); 0: none"),
    Signal("clocks_event_reasons", "count", 1, "Reasons for the current clocks (NVML's bits)"),
    Signal("hw_slowdown_s", "count", 1, "Seconds slowed down by the hardware, cumulative"),
    Signal("hw_thermal_s", "count", 1, "Seconds slowed down by the hardware because of heat"),
    Signal("sw_thermal_s", "count", 1, "Seconds slowed down by the driver because of heat"),
    Signal("power_brake_s", "count", 1, "Seconds slowed down by the power supply's signal"),
    Signal("temperature_c", "integer", 5, "Temperature in °C"),
    Signal("temperature_margin_c", "integer", 5, "°C left before the GPU slows down"),
    Signal("temperature_limit_c", "integer", 60, "°C at which the GPU slows down, on older parts"),
    Signal("memory_temperature_c", "integer", 5, "Memory temperature in °C"),
    Signal("memory_limit_c", "integer", 60, "°C of memory at which the GPU slows down"),
    Signal("power_w", "number", 5, "Power draw in W"),
    Signal("power_unreadable", "flag", 5, "The power sensor fails"),
    Signal("power_limit_w", "number", 60, "Power limit in W"),
    Signal("power_default_w", "number", 60, "Default power limit in W"),
    Signal("energy_mj", "count", 5, "Energy in mJ since the driver was loaded"),
    Signal("utilization_gpu", "count", 5, "Percent of time in which a kernel ran"),
    Signal("utilization_memory", "count", 5, "Percent of time in which memory was accessed"),
    Signal("memory_total_mib", "count", 5, "Memory in MiB"),
    Signal("memory_used_mib", "count", 5, "Memory in use in MiB"),
    Signal("clock_sm_mhz", "count", 5, "SM clock in MHz"),
    Signal("clock_memory_mhz", "count", 5, "Memory clock in MHz"),
    Signal("ecc_enabled", "flag", 60, "Error correction is on"),
    Signal("ecc_volatile_corrected_dram", "count", 10, "Corrected errors since driver load"),
    Signal("ecc_volatile_corrected_sram", "count", 10, "Corrected errors since driver load"),
    Signal("ecc_volatile_uncorrected_dram", "count", 10, "Uncorrectable errors since driver load"),
    Signal("ecc_volatile_uncorrected_sram", "count", 10, "Uncorrectable errors since driver load"),
    Signal("ecc_aggregate_corrected_dram", "count", 60, "Corrected errors in the GPU's life"),
    Signal("ecc_aggregate_corrected_sram", "count", 60, "Corrected errors in the GPU's life"),
    Signal("ecc_aggregate_uncorrected_dram", "count", 60, "Uncorrectable errors in the GPU's life"),
    Signal("ecc_aggregate_uncorrected_sram", "count", 60, "Uncorrectable errors in the GPU's life"),
    Signal("sram_threshold_exceeded", "flag", 60, "NVIDIA's threshold for replacement is exceeded"),
    Signal("remap_corrected", "count", 10, "Rows remapped after corrected errors"),
    Signal("remap_uncorrected", "count", 10, "Rows remapped after uncorrectable errors"),
    Signal("remap_pending", "flag", 10, "A row will be remapped at the next reset"),
    Signal("remap_failure", "flag", 10, "A row could not be remapped"),
    Signal("remap_banks_max", "count", 60, "Memory banks with all spare rows"),
    Signal("remap_banks_high", "count", 60, "Memory banks with most spare rows"),
    Signal("remap_banks_partial", "count", 60, "Memory banks with some spare rows"),
    Signal("remap_banks_low", "count", 60, "Memory banks with few spare rows"),
    Signal("remap_banks_none", "count", 60, "Memory banks with no spare row"),
    Signal("retired_pages", "count", 60, "Retired pages, on parts before Ampere"),
    Signal("retired_pending", "flag", 60, "A page will be retired at the next reset"),
    Signal("nvlinks", "count", 10, "Number of NVLinks"),
    Signal("nvlinks_down", "counts", 10, "Numbers of the NVLinks that are down"),
    Signal("nvlink_crc", "counts", 30, "CRC errors, by link"),
    Signal("nvlink_replays", "counts", 30, "Replays, by link"),
    Signal("nvlink_recoveries", "counts", 30, "Retrainings, by link"),
    Signal("fabric_state", "count", 10, "0 no fabric, 1 not started, 2 joining, 3 joined"),
    Signal("fabric_status", "count", 10, "Result of joining the fabric (nvmlReturn_t)"),
    Signal("fabric_health_summary", "count", 10, "1 healthy, 2 unhealthy, 3 limited capacity"),
    Signal("fabric_bandwidth_degraded", "flag", 10, "The fabric is slower than it should be"),
    Signal("fabric_route_unhealthy", "flag", 10, "A route of the fabric is unhealthy"),
    Signal("fabric_misconfigured", "count", 10, "Above 1: how it is misconfigured (NVML's code)"),
    Signal("pcie_generation", "count", 10, "Current PCIe generation; low when idle"),
    Signal("pcie_generation_max", "count", 60, "Highest PCIe generation of GPU and slot"),
    Signal("pcie_width", "count", 10, "Current PCIe lanes"),
    Signal("pcie_width_max", "count", 60, "Most PCIe lanes of GPU and slot"),
    Signal("pcie_replays", "count", 10, "PCIe packets sent again"),
    Signal("inforom_valid", "flag", 60, "The InfoROM's checksum is correct"),
)

DISK = (
    Signal("name", "text", 60, "Name of the NVMe controller, or of the SATA or SAS disk"),
    Signal("model", "text", 60, "Product name"),
    Signal("serial", "text", 60, "Serial number"),
    Signal("state", "text", 60, "live, or the kernel's state: resetting, dead, offline, …"),
    Signal("critical_warning", "count", 60, "Critical warning bits of NVMe's SMART log"),
    Signal("failure_predicted", "flag", 60, "A SATA or SAS disk predicts its failure (SMART)"),
    Signal("temperature_c", "integer", 60, "Temperature in °C"),
    Signal("spare_percent", "count", 60, "Percent of spare blocks left"),
    Signal("used_percent", "count", 60, "Percent of rated writes used"),
    Signal("media_errors", "count", 60, "Media errors"),
)

LINK = (
    Signal("name", "text", 60, "Name of the network interface"),
    Signal("up", "flag", 60, "The interface has a carrier"),
    Signal("down_count", "count", 60, "Carrier losses since boot"),
)

EVENT = (
    Signal("id", "text", 0, "Identifier, the same in every report of the event"),
    Signal("pci", "text", 0, "PCI address of the GPU"),
    Signal("xid", "count", 0, "NVIDIA's XID number"),
    Signal("at_s", "number", 0, "When, in seconds since boot"),
    Signal("text", "text", 0, "The kernel's message, if its log can be read"),
)

PARTS = {"gpus": GPU, "disks": DISK, "links": LINK, "events": EVENT}
_REQUIRED = {"events": ("id", "pci", "xid", "at_s")}


def checked(health: object) -> Values:
    """Return the known part of a report's health. Raises `ValueError` naming what is invalid."""
    if not isinstance(health, dict):
        raise ValueError("expected an object")
    values = _checked(health, _SERVER)
    values.setdefault("state", "failed")
    for name, known in _PARTS.items():
        parts = health.get(name, [])
        if not isinstance(parts, list) or len(parts) > MOST_PARTS:
            raise ValueError(f"{name}: expected a list of at most {MOST_PARTS}")
        values[name] = [_checked(part, known) for part in parts]
        for part in values[name]:
            missing = [field for field in _REQUIRED.get(name, ()) if field not in part]
            if missing:
                raise ValueError(f"{name}: {missing[0]} is missing")
    return values


def _checked(values: object, known: dict[str, Callable[[Any], bool]]) -> Values:
    if not isinstance(values, dict):
        raise ValueError("expected an object")
    kept = {}
    for name, value in values.items():  # one pass: the provisioner does this all day
        check = known.get(name)
        if check is None:
            continue
        if not check(value):
            raise ValueError(f"{name}: not as the table of signals says")
        kept[name] = value
    return kept


def _is_integer(value: object) -> bool:
    return type(value) is int and -_LARGEST < value < _LARGEST


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < _LARGEST


def _is_number(value: object) -> bool:
    return _is_integer(value) or (isinstance(value, float) and math.isfinite(value))


def is_text(value: object, most: int = MOST_CHARACTERS) -> bool:
    """Whether it is text of at most so many characters that can be sent and stored."""
    return isinstance(value, str) and len(value) <= most and not _NO_TEXT.search(value)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _list_of(check: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: (
        isinstance(value, list) and len(value) <= MOST_ENTRIES and all(map(check, value))
    )


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "integer": _is_integer,
    "count": _is_count,
    "number": _is_number,
    "text": is_text,
    "flag": _is_flag,
    "counts": _list_of(_is_count),
    "texts": _list_of(is_text),
}
_SERVER = {signal.name: _CHECKS[signal.kind] for signal in SERVER}
_PARTS = {
    name: {signal.name: _CHECKS[signal.kind] for signal in table} for name, table in PARTS.items()
}
