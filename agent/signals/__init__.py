"""Every signal of a machine's health: its name in a report, its kind and meaning. Both sides check
reports by these tables, and the documentation prints them. Reading is left to `agent.nvml` and
`agent.hardware`, judging to the provisioner.

A signal that a part does not have is absent, which is not the same as zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

Values = dict[str, Any]

# Parts of one kind, entries of one list, characters of one text: more is no health report
MOST_PARTS = 64
MOST_ENTRIES = 64
MOST_CHARACTERS = 300
_LARGEST = 1 << 63


class Signal(NamedTuple):
    """`every_s`: seconds between two readings; 0 for what is told as it happens."""

    name: str
    kind: str
    every_s: int
    meaning: str


SERVER = (
    Signal("state", "text", 0, "of the GPUs: starting, ok, absent, hung, failed"),
    Signal("reason", "text", 0, "why the state is not ok"),
    Signal("driver", "text", 60, "version of the driver"),
    Signal("nvml", "text", 60, "version of NVML"),
    Signal("read_s", "number", 0, "when the GPUs were last read, seconds since the boot"),
    Signal("hardware_hung", "flag", 1, "reading disks, memory and links does not come back"),
    Signal("gpus_on_bus", "count", 60, "NVIDIA GPUs on the PCI bus, with or without a driver"),
    Signal("memory_corrected", "count", 60, "corrected errors of main memory in this boot (EDAC)"),
    Signal("memory_uncorrected", "count", 60, "uncorrectable errors of main memory in this boot"),
)

GPU = (
    Signal("index", "count", 60, "the driver's number of it"),
    Signal("uuid", "text", 60, "its name for ever"),
    Signal("pci", "text", 60, "where it is on the PCI bus"),
    Signal("serial", "text", 60, "serial number of the board"),
    Signal("name", "text", 60, "the product"),
    Signal("vbios", "text", 60, "version of its firmware"),
    Signal("lost", "flag", 1, "it fell off the bus: nothing else can be read"),
    Signal("errors", "texts", 0, "functions of NVML that fail on it, with the error's number"),
    Signal("recovery_action", "count", 5, "what the driver asks for (NVML field 230); 0: nothing"),
    Signal("clocks_event_reasons", "count", 1, "why its clocks are what they are (NVML's bits)"),
    Signal("hw_slowdown_s", "count", 1, "seconds slowed down by the hardware, counting up"),
    Signal("hw_thermal_s", "count", 1, "seconds slowed down by the hardware for heat"),
    Signal("sw_thermal_s", "count", 1, "seconds slowed down by the driver for heat"),
    Signal("power_brake_s", "count", 1, "seconds slowed down by the power supply's signal"),
    Signal("temperature_c", "integer", 5, "°C"),
    Signal("temperature_margin_c", "integer", 5, "°C left before it slows down"),
    Signal("temperature_limit_c", "integer", 60, "°C at which it slows down, on older parts"),
    Signal("memory_temperature_c", "integer", 5, "°C of its memory"),
    Signal("memory_limit_c", "integer", 60, "°C at which its memory slows it down"),
    Signal("power_w", "number", 5, "watts"),
    Signal("power_unreadable", "flag", 5, "the power sensor fails"),
    Signal("power_limit_w", "number", 60, "watts that it may take"),
    Signal("power_default_w", "number", 60, "watts that it may take as delivered"),
    Signal("energy_mj", "count", 5, "millijoules since the driver was loaded"),
    Signal("utilization_gpu", "count", 5, "percent of time in which a kernel ran"),
    Signal("utilization_memory", "count", 5, "percent of time in which its memory was used"),
    Signal("memory_total_mib", "count", 5, "MiB of memory"),
    Signal("memory_used_mib", "count", 5, "MiB in use"),
    Signal("clock_sm_mhz", "count", 5, "MHz of its processors"),
    Signal("clock_memory_mhz", "count", 5, "MHz of its memory"),
    Signal("ecc_enabled", "flag", 60, "error correction is on"),
    Signal("ecc_volatile_corrected_dram", "count", 10, "since the driver was loaded"),
    Signal("ecc_volatile_corrected_sram", "count", 10, "since the driver was loaded"),
    Signal("ecc_volatile_uncorrected_dram", "count", 10, "since the driver was loaded"),
    Signal("ecc_volatile_uncorrected_sram", "count", 10, "since the driver was loaded"),
    Signal("ecc_aggregate_corrected_dram", "count", 60, "in its life"),
    Signal("ecc_aggregate_corrected_sram", "count", 60, "in its life"),
    Signal("ecc_aggregate_uncorrected_dram", "count", 60, "in its life"),
    Signal("ecc_aggregate_uncorrected_sram", "count", 60, "in its life"),
    Signal("sram_threshold_exceeded", "flag", 60, "NVIDIA's threshold for a replacement"),
    Signal("remap_corrected", "count", 10, "rows remapped after corrected errors"),
    Signal("remap_uncorrected", "count", 10, "rows remapped after uncorrectable errors"),
    Signal("remap_pending", "flag", 10, "a row is remapped at the next reset"),
    Signal("remap_failure", "flag", 10, "a row could not be remapped"),
    Signal("remap_banks_max", "count", 60, "memory banks with all spare rows"),
    Signal("remap_banks_high", "count", 60, "memory banks with most spare rows"),
    Signal("remap_banks_partial", "count", 60, "memory banks with some spare rows"),
    Signal("remap_banks_low", "count", 60, "memory banks with few spare rows"),
    Signal("remap_banks_none", "count", 60, "memory banks with no spare row"),
    Signal("retired_pages", "count", 60, "pages retired, on parts before Ampere"),
    Signal("retired_pending", "flag", 60, "a page is retired at the next reset"),
    Signal("nvlinks", "count", 10, "NVLinks that it has"),
    Signal("nvlinks_down", "counts", 10, "the numbers of those that are down"),
    Signal("nvlink_crc", "counts", 30, "CRC errors, by link"),
    Signal("nvlink_replays", "counts", 30, "replays, by link"),
    Signal("nvlink_recoveries", "counts", 30, "retrainings, by link"),
    Signal("fabric_state", "count", 10, "0 no fabric, 1 not started, 2 joining, 3 joined"),
    Signal("fabric_status", "count", 10, "how joining ended (nvmlReturn_t)"),
    Signal("fabric_health_summary", "count", 10, "1 healthy, 2 unhealthy, 3 limited capacity"),
    Signal("fabric_bandwidth_degraded", "flag", 10, "the fabric is slower than it should be"),
    Signal("fabric_route_unhealthy", "flag", 10, "a route of the fabric is unhealthy"),
    Signal("fabric_misconfigured", "count", 10, "above 1: how (NVML's code)"),
    Signal("pcie_generation", "count", 10, "PCIe generation now; low when idle"),
    Signal("pcie_generation_max", "count", 60, "PCIe generation that GPU and slot can do"),
    Signal("pcie_width", "count", 10, "PCIe lanes now"),
    Signal("pcie_width_max", "count", 60, "PCIe lanes that GPU and slot can do"),
    Signal("pcie_replays", "count", 10, "packets sent again"),
    Signal("inforom_valid", "flag", 60, "its InfoROM's checksum is right"),
)

DISK = (
    Signal("name", "text", 60, "of the NVMe controller, or of the SATA or SAS disk"),
    Signal("model", "text", 60, "the product"),
    Signal("serial", "text", 60, "serial number"),
    Signal("state", "text", 60, "live, or the kernel's word: resetting, dead, offline, …"),
    Signal("critical_warning", "count", 60, "bits of NVMe's SMART log"),
    Signal("failure_predicted", "flag", 60, "a SATA or SAS disk's own verdict by SMART"),
    Signal("temperature_c", "integer", 60, "°C"),
    Signal("spare_percent", "count", 60, "percent of spare blocks left"),
    Signal("used_percent", "count", 60, "percent of rated writes used"),
    Signal("media_errors", "count", 60, "errors of the medium"),
)

LINK = (
    Signal("name", "text", 60, "of the network interface"),
    Signal("up", "flag", 60, "it has a carrier"),
    Signal("down_count", "count", 60, "how often it lost its carrier in this boot"),
)

EVENT = (
    Signal("id", "text", 0, "the same in every report that tells it"),
    Signal("pci", "text", 0, "the GPU"),
    Signal("xid", "count", 0, "NVIDIA's number"),
    Signal("at_s", "number", 0, "when, in seconds since the boot"),
    Signal("text", "text", 0, "the kernel's words, where its log can be read"),
)

PARTS = {"gpus": GPU, "disks": DISK, "links": LINK, "events": EVENT}
_REQUIRED = {"events": ("id", "pci", "xid", "at_s")}


def checked(health: object) -> Values:
    """A report's health with what these tables know; `ValueError` names what is not as they say."""
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


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MOST_CHARACTERS


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
    "text": _is_text,
    "flag": _is_flag,
    "counts": _list_of(_is_count),
    "texts": _list_of(_is_text),
}
_SERVER = {signal.name: _CHECKS[signal.kind] for signal in SERVER}
_PARTS = {
    name: {signal.name: _CHECKS[signal.kind] for signal in table} for name, table in PARTS.items()
}
