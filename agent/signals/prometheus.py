"""GPU signals in Prometheus' text format, under the names and labels of the DCGM exporter.

The agent serves it to its own machine, the provisioner for the whole site.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from agent.signals import Values


class Metric(NamedTuple):
    """One metric: the sum of its signals, lists included."""

    name: str
    kind: str
    help: str
    signals: tuple[str, ...]


METRICS = (
    Metric("DCGM_FI_DEV_SM_CLOCK", "gauge", "SM clock frequency (in MHz).", ("clock_sm_mhz",)),
    Metric(
        "DCGM_FI_DEV_MEM_CLOCK", "gauge", "Memory clock frequency (in MHz).", ("clock_memory_mhz",)
    ),
    Metric("DCGM_FI_DEV_GPU_TEMP", "gauge", "GPU temperature (in C).", ("temperature_c",)),
    Metric(
        "DCGM_FI_DEV_MEMORY_TEMP", "gauge", "Memory temperature (in C).", ("memory_temperature_c",)
    ),
    Metric("DCGM_FI_DEV_POWER_USAGE", "gauge", "Power draw (in W).", ("power_w",)),
    Metric(
        "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION",
        "counter",
        "Energy since the driver was loaded (in mJ).",
        ("energy_mj",),
    ),
    Metric("DCGM_FI_DEV_ENFORCED_POWER_LIMIT", "gauge", "Power limit (in W).", ("power_limit_w",)),
    Metric("DCGM_FI_DEV_GPU_UTIL", "gauge", "GPU utilization (in %).", ("utilization_gpu",)),
    Metric(
        "DCGM_FI_DEV_MEM_COPY_UTIL", "gauge", "Memory utilization (in %).", ("utilization_memory",)
    ),
    Metric("DCGM_FI_DEV_FB_TOTAL", "gauge", "Memory (in MiB).", ("memory_total_mib",)),
    Metric("DCGM_FI_DEV_FB_USED", "gauge", "Memory in use (in MiB).", ("memory_used_mib",)),
    Metric(
        "DCGM_FI_DEV_CLOCKS_EVENT_REASONS",
        "gauge",
        "Why the clocks are what they are (bits of NVML).",
        ("clocks_event_reasons",),
    ),
    Metric(
        "DCGM_FI_DEV_ECC_SBE_VOL_TOTAL",
        "counter",
        "Corrected memory errors since the driver was loaded.",
        ("ecc_volatile_corrected_dram", "ecc_volatile_corrected_sram"),
    ),
    Metric(
        "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL",
        "counter",
        "Uncorrectable memory errors since the driver was loaded.",
        ("ecc_volatile_uncorrected_dram", "ecc_volatile_uncorrected_sram"),
    ),
    Metric(
        "DCGM_FI_DEV_ECC_SBE_AGG_TOTAL",
        "counter",
        "Corrected memory errors in the GPU's life.",
        ("ecc_aggregate_corrected_dram", "ecc_aggregate_corrected_sram"),
    ),
    Metric(
        "DCGM_FI_DEV_ECC_DBE_AGG_TOTAL",
        "counter",
        "Uncorrectable memory errors in the GPU's life.",
        ("ecc_aggregate_uncorrected_dram", "ecc_aggregate_uncorrected_sram"),
    ),
    Metric(
        "DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS",
        "counter",
        "Rows remapped after corrected errors.",
        ("remap_corrected",),
    ),
    Metric(
        "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS",
        "counter",
        "Rows remapped after uncorrectable errors.",
        ("remap_uncorrected",),
    ),
    Metric(
        "DCGM_FI_DEV_ROW_REMAP_PENDING",
        "gauge",
        "Whether a row is remapped at the next reset.",
        ("remap_pending",),
    ),
    Metric(
        "DCGM_FI_DEV_ROW_REMAP_FAILURE",
        "gauge",
        "Whether remapping of rows has failed.",
        ("remap_failure",),
    ),
    Metric(
        "DCGM_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL",
        "counter",
        "NVLink CRC errors.",
        ("nvlink_crc",),
    ),
    Metric(
        "DCGM_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL",
        "counter",
        "NVLink replays.",
        ("nvlink_replays",),
    ),
    Metric(
        "DCGM_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL",
        "counter",
        "NVLink retrainings.",
        ("nvlink_recoveries",),
    ),
    Metric(
        "DCGM_FI_DEV_FABRIC_MANAGER_STATUS",
        "gauge",
        "State of joining the NVLink fabric; 3 is joined.",
        ("fabric_state",),
    ),
    Metric("DCGM_FI_DEV_PCIE_LINK_GEN", "gauge", "PCIe generation now.", ("pcie_generation",)),
    Metric("DCGM_FI_DEV_PCIE_LINK_WIDTH", "gauge", "PCIe lanes now.", ("pcie_width",)),
    Metric("DCGM_FI_DEV_PCIE_REPLAY_COUNTER", "counter", "PCIe retries.", ("pcie_replays",)),
)
_XID = "DCGM_FI_DEV_XID_ERRORS"


def exposition(*machines: tuple[Values, dict[str, str]]) -> str:
    """Render the health of machines, each with labels of its own.

    A GPU without a signal has no sample of it.
    """
    gpus: list[tuple[Values, str, int]] = []
    for health, more in machines:
        last = {event["pci"]: event["xid"] for event in health["events"]}
        gpus += [
            (gpu, _labels(gpu, health, more), last.get(gpu.get("pci"), 0)) for gpu in health["gpus"]
        ]
    lines: list[str] = []
    for metric in METRICS:
        samples = [(label, _sum(gpu, metric.signals)) for gpu, label, _ in gpus]
        known = [f"{metric.name}{label} {value}" for label, value in samples if value is not None]
        lines += _family(metric.name, metric.kind, metric.help, known)
    xids = [f"{_XID}{label} {xid}" for _, label, xid in gpus]
    lines += _family(_XID, "gauge", "The last XID error in this boot.", xids)
    return "".join(f"{line}\n" for line in lines)


def _family(name: str, kind: str, text: str, samples: list[str]) -> Iterator[str]:
    if samples:
        yield f"# HELP {name} {text}"
        yield f"# TYPE {name} {kind}"
        yield from samples


def _sum(gpu: Values, signals: tuple[str, ...]) -> float | None:
    """Sum the signals; None if the GPU has none of them."""
    if any(signal not in gpu for signal in signals):
        return None
    values = (gpu[signal] for signal in signals)
    return sum(sum(value) if isinstance(value, list) else value for value in values)


def _labels(gpu: Values, health: Values, more: dict[str, str]) -> str:
    labels = {
        "gpu": gpu["index"],
        "UUID": gpu.get("uuid", ""),
        "pci_bus_id": gpu.get("pci", "").upper().rjust(len("00000000:00:00.0"), "0"),
        "device": f"nvidia{gpu['index']}",
        "modelName": gpu.get("name", ""),
        **more,
        "DCGM_FI_DRIVER_VERSION": health.get("driver", ""),
    }
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{pairs}}}"


def _escaped(value: object) -> str:
    return str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
