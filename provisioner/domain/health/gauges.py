"""The few GPU signals that people watch, named as in samples, the API and the charts.

The verdict judges them.
"""

from collections.abc import Mapping
from typing import Any

_GAUGES: dict[str, tuple[str, ...]] = {
    "temperature_c": ("temperature_c",),
    "power_w": ("power_w",),
    "utilization_percent": ("utilization_gpu",),
    "memory_used_mib": ("memory_used_mib",),
    "ecc_corrected": ("ecc_volatile_corrected_dram", "ecc_volatile_corrected_sram"),
    "ecc_uncorrected": ("ecc_volatile_uncorrected_dram", "ecc_volatile_uncorrected_sram"),
}
"""Each gauge is the sum of its signals."""

GAUGES = tuple(_GAUGES)


def gauges(gpu: Mapping[str, Any]) -> dict[str, float]:
    """Return the gauges of one GPU in a report, without those that were not read."""
    return {
        name: sum(gpu[signal] for signal in signals)
        for name, signals in _GAUGES.items()
        if all(signal in gpu for signal in signals)
    }
