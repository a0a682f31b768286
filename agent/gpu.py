"""Reads one GPU: which signals, how often, and through which calls of nvidia-ml-py.

Signals that a part or driver does not have are left out. `agent.nvml` handles all GPUs and events.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from agent.host import pci_address
from agent.signals import Values

Announce = Callable[[str], None]

# Reasons for low clocks: bits of nvmlClocksEventReasons, and the counter of seconds for each.
_SLOWED = {
    "hw_slowdown_s": 0x08,
    "sw_thermal_s": 0x20,
    "hw_thermal_s": 0x40,
    "power_brake_s": 0x80,
}
_FABRIC_BITS = {"fabric_bandwidth_degraded": 0, "fabric_route_unhealthy": 4}
_FABRIC_MISCONFIGURED_BIT = 8


class _Lost(Exception):
    """The GPU fell off the bus."""


class Gpu:
    """One GPU: its last readings, and when each group of signals is due."""

    def __init__(self, pynvml: Any, announce: Announce, index: int) -> None:
        self._nvml = pynvml
        self._announce = announce
        self._handle: Any = None
        self._errors: dict[str, int] = {}
        self._slowed = dict.fromkeys(_SLOWED, 0.0)
        self._slowed_at: float | None = None
        self._retry_at = 0.0
        self.address: int | None = None
        self.values: Values = {"index": index, "lost": False}
        self._every: dict[Callable[[], None], float] = {
            self._identity: 60,
            self._use: 5,
            self._recommendation: 5,
            self._health: 10,
            self._link_errors: 30,
            self._limits: 60,
        }
        self._due = dict.fromkeys(self._every, 0.0)

    def read(self, now: float) -> bool:
        """Read the groups that are due; return whether there were any besides the clocks."""
        if self.values["lost"] and now < self._retry_at:
            return False
        try:
            if self._handle is None:
                self._find()
            self._clocks(now)
            due = [group for group, at in self._due.items() if at <= now]
            for group in due:
                self._due[group] = now + self._every[group]
                group()
        except _Lost:
            return self._lose(now)
        return bool(due)

    @property
    def linked(self) -> bool:
        """Whether any of its NVLinks is up."""
        links: int = self.values.get("nvlinks", 0)
        return len(self.values.get("nvlinks_down", ())) < links

    def report(self, *, wired: bool) -> Values:
        errors = [f"{name}: {code}" for name, code in sorted(self._errors.items())]
        values = {**self.values, "errors": errors}
        if not wired:
            values.pop("nvlinks_down", None)
        return values

    def register(self, events: Any, kinds: int) -> bool:
        """Subscribe to the GPU's events of these kinds; return whether it supports any."""
        try:
            if self._handle is None:
                self._find()
            kinds &= self._nvml.nvmlDeviceGetSupportedEventTypes(self._handle)
            if kinds:
                self._nvml.nvmlDeviceRegisterEvents(self._handle, kinds, events)
        except (_Lost, self._nvml.NVMLError):
            return False
        return bool(kinds)

    def recommendation_changed(self) -> None:
        self._due[self._recommendation] = 0.0

    def _find(self) -> None:
        self._announce(f"nvmlDeviceGetHandleByIndex of GPU {self.values['index']}")
        try:
            self._handle = self._nvml.nvmlDeviceGetHandleByIndex(self.values["index"])
        except self._nvml.NVMLError as error:
            raise _Lost from error
        self.address = handle_address(self._handle)
        self.values["lost"] = False
        self._due = dict.fromkeys(self._every, 0.0)

    def _lose(self, now: float) -> bool:
        """Keep only the GPU's identity, and check in a minute whether it is back."""
        new = not self.values["lost"]
        identity = ("index", "uuid", "pci", "serial", "name", "vbios")
        self.values = {name: self.values[name] for name in identity if name in self.values}
        self.values["lost"] = True
        self._errors.clear()
        self._handle, self._retry_at = None, now + 60
        return new

    # Groups of signals.

    def _identity(self) -> None:
        self._put("uuid", text(self._call("nvmlDeviceGetUUID")))
        self._put("serial", text(self._call("nvmlDeviceGetSerial")))
        self._put("name", text(self._call("nvmlDeviceGetName")))
        self._put("vbios", text(self._call("nvmlDeviceGetVbiosVersion")))
        pci = self._call("nvmlDeviceGetPciInfo")
        self._put("pci", pci and pci_address(text(pci.busId) or ""))

    def _clocks(self, now: float) -> None:
        reasons = self._call("nvmlDeviceGetCurrentClocksEventReasons")
        if reasons is None:  # the name before R535
            reasons = self._call("nvmlDeviceGetCurrentClocksThrottleReasons")
        self._put("clocks_event_reasons", reasons)
        if reasons is None:
            return
        # A reason seen now is counted since the last reading, for two seconds at most.
        seconds = 0.0 if self._slowed_at is None else min(now - self._slowed_at, 2.0)
        self._slowed_at = now
        for name, bit in _SLOWED.items():
            self._slowed[name] += seconds if reasons & bit else 0.0
            self._put(name, int(self._slowed[name]))

    def _use(self) -> None:
        gpu_sensor = 0
        temperature = self._call("nvmlDeviceGetTemperatureV", gpu_sensor)
        if temperature is None:
            temperature = self._call("nvmlDeviceGetTemperature", gpu_sensor)
        self._put("temperature_c", temperature)
        self._put("temperature_margin_c", self._call("nvmlDeviceGetMarginTemperature"))
        self._put("memory_temperature_c", self._fields(82)[0])
        power = self._call("nvmlDeviceGetPowerUsage")
        self._put("power_w", power and power / 1000)
        self._put("power_unreadable", "nvmlDeviceGetPowerUsage" in self._errors)
        self._put("energy_mj", self._call("nvmlDeviceGetTotalEnergyConsumption"))
        used = self._call("nvmlDeviceGetUtilizationRates")
        self._put("utilization_gpu", used and used.gpu)
        self._put("utilization_memory", used and used.memory)
        memory = self._call("nvmlDeviceGetMemoryInfo")
        self._put("memory_total_mib", memory and memory.total >> 20)
        self._put("memory_used_mib", memory and memory.used >> 20)
        self._put("clock_sm_mhz", self._call("nvmlDeviceGetClockInfo", 1))
        self._put("clock_memory_mhz", self._call("nvmlDeviceGetClockInfo", 2))

    def _recommendation(self) -> None:
        self._put("recovery_action", self._fields(230)[0])

    def _health(self) -> None:
        self._memory_errors("volatile")
        rows = self._call("nvmlDeviceGetRemappedRows")
        corrected, uncorrected, pending, failure = rows or (None,) * 4
        self._put("remap_corrected", corrected)
        self._put("remap_uncorrected", uncorrected)
        self._put("remap_pending", _flag(pending))
        self._put("remap_failure", _flag(failure))
        self._links()
        self._fabric()
        self._put("pcie_generation", self._call("nvmlDeviceGetCurrPcieLinkGeneration"))
        self._put("pcie_width", self._call("nvmlDeviceGetCurrPcieLinkWidth"))
        self._put("pcie_replays", self._call("nvmlDeviceGetPcieReplayCounter"))

    def _limits(self) -> None:
        self._memory_errors("aggregate")
        mode = self._call("nvmlDeviceGetEccMode")
        self._put("ecc_enabled", mode and bool(mode[0]))
        sram = self._structure("nvmlDeviceGetSramEccErrorStatus", "c_nvmlEccSramErrorStatus_v1_t")
        self._put("sram_threshold_exceeded", sram and bool(sram.bThresholdExceeded))
        banks = self._call("nvmlDeviceGetRowRemapperHistogram")
        for name in ("max", "high", "partial", "low", "none"):
            self._put(f"remap_banks_{name}", banks and getattr(banks, name))
        retired = [self._call("nvmlDeviceGetRetiredPages", cause) for cause in (0, 1)]
        pages = [len(pages) for pages in retired if pages is not None]
        self._put("retired_pages", sum(pages) if pages else None)
        self._put("retired_pending", _flag(self._call("nvmlDeviceGetRetiredPagesPendingStatus")))
        slowdown, memory = 1, 2
        self._put("temperature_limit_c", self._call("nvmlDeviceGetTemperatureThreshold", slowdown))
        self._put("memory_limit_c", self._call("nvmlDeviceGetTemperatureThreshold", memory))
        limit = self._call("nvmlDeviceGetEnforcedPowerLimit")
        self._put("power_limit_w", limit and limit / 1000)
        default = self._call("nvmlDeviceGetPowerManagementDefaultLimit")
        self._put("power_default_w", default and default / 1000)
        self._put("pcie_generation_max", self._call("nvmlDeviceGetMaxPcieLinkGeneration"))
        self._put("pcie_width_max", self._call("nvmlDeviceGetMaxPcieLinkWidth"))
        self._inforom()

    def _memory_errors(self, counter: str) -> None:
        counters = {"volatile": 0, "aggregate": 1}
        for kind, error_type in (("corrected", 0), ("uncorrected", 1)):
            for location, number in (("dram", 2), ("sram", 7)):
                errors = self._call(
                    "nvmlDeviceGetMemoryErrorCounter", error_type, counters[counter], number
                )
                self._put(f"ecc_{counter}_{kind}_{location}", errors)

    def _links(self) -> None:
        links = self._fields(91)[0]
        self._put("nvlinks", links or None)
        if not links:
            return
        states = [self._call("nvmlDeviceGetNvLinkState", link) for link in range(links)]
        self._put("nvlinks_down", [link for link, state in enumerate(states) if state == 0])

    def _link_errors(self) -> None:
        links = range(self.values.get("nvlinks", 0))
        for name, field in (
            ("nvlink_replays", 161),
            ("nvlink_recoveries", 162),
            ("nvlink_crc", 163),
        ):
            counts = self._fields(*((field, link) for link in links)) if links else []
            known = counts and None not in counts
            self._put(name, counts if known else None)

    def _fabric(self) -> None:
        info = self._structure("nvmlDeviceGetGpuFabricInfoV", "c_nvmlGpuFabricInfo_v3_t")
        if info is None:  # for older drivers
            info = self._structure("nvmlDeviceGetGpuFabricInfoV", "c_nvmlGpuFabricInfo_v2_t")
        self._put("fabric_state", info and info.state)
        self._put("fabric_status", info and info.status)
        self._put("fabric_health_summary", info and getattr(info, "healthSummary", None))
        mask = info.healthMask if info else None
        for name, bit in _FABRIC_BITS.items():  # two bits: 0 not supported, 1 yes, 2 no
            self._put(name, None if mask is None else (mask >> bit & 3) == 1)
        wrong = None if mask is None else mask >> _FABRIC_MISCONFIGURED_BIT & 0xF
        self._put("fabric_misconfigured", wrong)

    def _inforom(self) -> None:
        corrupted = 14
        self._call("nvmlDeviceValidateInforom")
        error = self._errors.pop("nvmlDeviceValidateInforom", None)
        self._put("inforom_valid", error is None if error in (None, corrupted) else None)

    # Calls to NVML.

    def _put(self, name: str, value: Any) -> None:
        if value is None:
            self.values.pop(name, None)
        else:
            self.values[name] = value

    def _call(self, name: str, *arguments: Any) -> Any:
        """Call a function; None if the GPU or driver does not have it, or if it fails.

        A failure is recorded, since it is a signal too.
        """
        nvml = self._nvml
        function = getattr(nvml, name, None)
        if function is None:
            return None
        self._announce(f"{name} of GPU {self.values['index']}")
        try:
            answer = function(self._handle, *arguments)
        except nvml.NVMLError as error:
            code = error.value
            if code == nvml.NVML_ERROR_GPU_IS_LOST:
                raise _Lost from error
            if code in _absent(nvml):
                self._errors.pop(name, None)
            else:
                self._errors[name] = code
            return None
        self._errors.pop(name, None)
        return answer

    def _structure(self, name: str, kind: str) -> Any:
        """Call a function that fills a versioned structure."""
        structure = getattr(self._nvml, kind, None)
        if structure is None:
            return None
        written = structure()
        done = self._call(name, ctypes.byref(written))
        return written if done is not None else None

    def _fields(self, *wanted: Any) -> list[int | None]:
        """Read field values by id, or by (id, scope)."""
        answer = self._call("nvmlDeviceGetFieldValues", list(wanted))
        if answer is None:
            return [None] * len(wanted)
        return [_field(self._nvml, value) for value in answer]


def _absent(nvml: Any) -> tuple[int, ...]:
    """Error codes for what a part, a driver or a version of a structure does not have."""
    return (
        nvml.NVML_ERROR_NOT_SUPPORTED,
        nvml.NVML_ERROR_FUNCTION_NOT_FOUND,
        nvml.NVML_ERROR_INVALID_ARGUMENT,
        nvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
        nvml.NVML_ERROR_DEPRECATED,
    )


def _field(nvml: Any, value: Any) -> int | None:
    if value.nvmlReturn:
        return None
    if value.valueType == nvml.NVML_VALUE_TYPE_SIGNED_INT:
        return int(value.value.siVal)
    if value.valueType == nvml.NVML_VALUE_TYPE_UNSIGNED_INT:
        return int(value.value.uiVal)
    if value.valueType == nvml.NVML_VALUE_TYPE_DOUBLE:
        return int(value.value.dVal)
    return int(value.value.ullVal)


def _flag(value: int | None) -> bool | None:
    return None if value is None else bool(value)


def text(value: Any) -> str | None:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def handle_address(handle: Any) -> int | None:
    """Return a handle's address: handles are pointers, and are compared as such."""
    return ctypes.cast(handle, ctypes.c_void_p).value
