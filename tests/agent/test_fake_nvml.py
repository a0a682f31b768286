"""The fake NVML has NVML's ABI: unmodified nvidia-ml-py cannot tell the difference."""

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator

import pynvml
import pytest

from lab.nvml import PROFILES, RECOVERY_ACTION, XID, FakeNvml

FIRST_LINE = "import pynvml; pynvml.nvmlInit(); h = pynvml.nvmlDeviceGetHandleByIndex(0); "


class _Size(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("size", ctypes.c_uint))


@pytest.fixture
def nvml(gpus: FakeNvml) -> Iterator[FakeNvml]:
    pynvml.nvmlInit()
    yield gpus
    pynvml.nvmlShutdown()


def handle(index: int) -> object:
    return pynvml.nvmlDeviceGetHandleByIndex(index)


def run(fake: FakeNvml, code: str, *, old_driver: bool = False) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **fake.environment(old_driver=old_driver)}
    return subprocess.run(
        [sys.executable, "-c", FIRST_LINE + code],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
    )


def test_structures_have_the_sizes_that_the_binding_has(nvml_library: ctypes.CDLL) -> None:
    table = (_Size * 100).in_dll(nvml_library, "fake_nvml_sizes")
    sizes = {}
    for entry in table:
        if not entry.name:
            break
        sizes[entry.name.decode()] = entry.size
    assert sizes
    assert sizes == {name: ctypes.sizeof(getattr(pynvml, name)) for name in sizes}


@pytest.mark.parametrize(
    ("profile", "count", "name"),
    [
        ("h100-sxm-8", 8, "NVIDIA H100 80GB HBM3"),
        ("h200-sxm-8", 8, "NVIDIA H200"),
        ("b200-8", 8, "NVIDIA B200"),
        ("l40s-4", 4, "NVIDIA L40S"),
    ],
)
def test_profiles_are_servers(nvml: FakeNvml, profile: str, count: int, name: str) -> None:
    FakeNvml(nvml.file, profile)
    assert pynvml.nvmlDeviceGetCount() == count
    handles = [handle(index) for index in range(count)]
    assert {pynvml.nvmlDeviceGetName(each) for each in handles} == {name}
    assert len({pynvml.nvmlDeviceGetUUID(each) for each in handles}) == count
    assert len({pynvml.nvmlDeviceGetPciInfo(each).busId for each in handles}) == count


def test_every_profile_is_tested() -> None:
    assert {path.name for path in PROFILES.iterdir()} == {
        "h100-sxm-8",
        "h200-sxm-8",
        "b200-8",
        "l40s-4",
    }


def test_a_change_is_seen_at_once(nvml: FakeNvml) -> None:
    nvml.set(2, "temperature", 91)
    assert pynvml.nvmlDeviceGetTemperatureV(handle(2), pynvml.NVML_TEMPERATURE_GPU) == 91
    assert pynvml.nvmlDeviceGetTemperatureV(handle(1), pynvml.NVML_TEMPERATURE_GPU) == 34


def test_field_values_have_their_types_and_errors(nvml: FakeNvml) -> None:
    nvml.set(0, "field.163.7", 1 << 40)
    values = pynvml.nvmlDeviceGetFieldValues(handle(0), [193, (163, 7), (163, 8), 9999])
    assert (values[0].valueType, values[0].value.siVal) == (pynvml.NVML_VALUE_TYPE_SIGNED_INT, -8)
    assert values[1].value.ullVal == 1 << 40
    assert values[2].value.uiVal == 0
    assert values[3].nvmlReturn == pynvml.NVML_ERROR_NOT_SUPPORTED


def test_a_lost_gpu_answers_nothing_but_its_event_arrives(nvml: FakeNvml) -> None:
    lost = handle(3)
    events = pynvml.nvmlEventSetCreate()
    pynvml.nvmlDeviceRegisterEvents(lost, XID, events)
    nvml.lose(3)
    with pytest.raises(pynvml.NVMLError_GpuIsLost):
        pynvml.nvmlDeviceGetPowerUsage(lost)
    event = pynvml.nvmlEventSetWait(events, 0)
    assert (event.eventType, event.eventData) == (XID, 79)
    assert ctypes.cast(event.device, ctypes.c_void_p).value == (
        ctypes.cast(lost, ctypes.c_void_p).value
    )
    assert pynvml.nvmlDeviceGetPowerUsage(handle(4)) == 72000


def test_events_arrive_in_order_and_only_those_registered_for(nvml: FakeNvml) -> None:
    nvml.xid(0, 13)
    events = pynvml.nvmlEventSetCreate()
    pynvml.nvmlDeviceRegisterEvents(handle(0), XID | RECOVERY_ACTION, events)
    nvml.xid(0, 48)
    nvml.xid(1, 94)
    nvml.event(0, RECOVERY_ACTION, 0)
    seen = [pynvml.nvmlEventSetWait(events, 0) for _ in range(2)]
    assert [(event.eventType, event.eventData) for event in seen] == [
        (XID, 48),
        (RECOVERY_ACTION, 0),
    ]
    with pytest.raises(pynvml.NVMLError_Timeout):
        pynvml.nvmlEventSetWait(events, 0)


def test_what_a_part_does_not_have_is_not_supported(nvml: FakeNvml) -> None:
    FakeNvml(nvml.file, "l40s-4")
    with pytest.raises(pynvml.NVMLError_NotSupported):
        pynvml.nvmlDeviceGetNvLinkState(handle(0), 0)


def test_functions_fail_as_asked(nvml: FakeNvml) -> None:
    nvml.fail("nvmlDeviceGetPowerUsage", pynvml.NVML_ERROR_NO_PERMISSION, 1)
    with pytest.raises(pynvml.NVMLError_NoPermission):
        pynvml.nvmlDeviceGetPowerUsage(handle(1))
    assert pynvml.nvmlDeviceGetPowerUsage(handle(0)) == 72000


def test_the_structure_versions_are_checked(nvml: FakeNvml) -> None:
    info = pynvml.c_nvmlGpuFabricInfo_v3_t()
    pynvml.nvmlDeviceGetGpuFabricInfoV(handle(0), ctypes.byref(info))
    assert (info.state, info.healthSummary) == (3, 1)
    info.version = 77
    with pytest.raises(pynvml.NVMLError_ArgumentVersionMismatch):
        pynvml.nvmlDeviceGetGpuFabricInfoV(handle(0), ctypes.byref(info))


def test_an_old_driver_lacks_the_newer_functions(gpus: FakeNvml) -> None:
    there = run(gpus, "print(pynvml.nvmlDeviceGetRemappedRows(h))", old_driver=True)
    assert there.stdout == "(0, 0, 0, 0)\n"
    missing = run(gpus, "pynvml.nvmlDeviceGetMarginTemperature(h)", old_driver=True)
    assert "NVMLError_FunctionNotFound" in missing.stderr


def test_without_a_state_file_no_driver_is_loaded(gpus: FakeNvml) -> None:
    gpus.file.unlink()
    assert "NVMLError_DriverNotLoaded" in run(gpus, "").stderr
