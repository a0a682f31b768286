"""What the agent reads beside the GPUs, from a sysfs of our own."""

from pathlib import Path

import pytest

from agent import hardware


def put(folder: Path, **files: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        target = folder / ("class" if name == "kind" else name)
        target.write_text(f"{content}\n")
    return folder


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    return tmp_path / "sys"


def test_gpus_on_the_bus_are_counted_without_a_driver(sysfs: Path) -> None:
    bus = sysfs / "bus/pci/devices"
    put(bus / "0000:1b:00.0", vendor="0x10de", kind="0x030200")
    put(bus / "0000:43:00.0", vendor="0x10de", kind="0x030200")
    put(bus / "0000:43:00.1", vendor="0x10de", kind="0x040300")  # its sound
    put(bus / "0000:05:00.0", vendor="0x10de", kind="0x068000")  # an NVSwitch
    put(bus / "0000:02:00.0", vendor="0x1a03", kind="0x030000")  # the BMC's screen
    put(put(bus / "0000:1b:00.4", vendor="0x10de", kind="0x030200") / "physfn")
    assert hardware.read(sysfs)["gpus_on_bus"] == 2


def test_memory_errors_are_summed_over_the_controllers(sysfs: Path) -> None:
    controllers = sysfs / "devices/system/edac/mc"
    put(controllers / "mc0", ce_count=3, ue_count=0)
    put(controllers / "mc1", ce_count=4, ue_count=1)
    values = hardware.read(sysfs)
    assert (values["memory_corrected"], values["memory_uncorrected"]) == (7, 1)


def test_without_edac_memory_errors_are_absent(sysfs: Path) -> None:
    assert "memory_corrected" not in hardware.read(sysfs)


def test_links_that_are_hardware_are_read(sysfs: Path) -> None:
    port = put(sysfs / "class/net/eth0", carrier_down_count=5, operstate="up")
    put(port / "device")
    put(sysfs / "class/net/lo", carrier_down_count=0, operstate="unknown")
    assert hardware.read(sysfs)["links"] == [{"name": "eth0", "up": True, "down_count": 5}]


def test_a_disk_that_cannot_be_asked_still_has_its_state(sysfs: Path, tmp_path: Path) -> None:
    put(sysfs / "class/nvme/nvme0", model="QEMU NVMe Ctrl", serial="IL01-A", state="dead")
    assert hardware.read(sysfs, tmp_path)["disks"] == [
        {"name": "nvme0", "model": "QEMU NVMe Ctrl", "serial": "IL01-A", "state": "dead"}
    ]


def test_the_smart_log_is_understood(
    sysfs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(sysfs / "class/nvme/nvme0", state="live")
    put(tmp_path, nvme0="")
    log = bytearray(512)
    log[0:6] = bytes([0b1000, *(273 + 41).to_bytes(2, "little"), 97, 10, 102])
    log[160:168] = (3).to_bytes(8, "little")

    def answer(_file: int, request: int, command: hardware._Command) -> int:
        assert (request, command.opcode, command.cdw10) == (0xC0484E41, 2, 0x007F0002)
        hardware.ctypes.memmove(command.address, bytes(log), command.data_length)
        return 0

    monkeypatch.setattr(hardware.fcntl, "ioctl", answer)
    [disk] = hardware.read(sysfs, tmp_path)["disks"]
    assert disk == {
        "name": "nvme0",
        "state": "live",
        "critical_warning": 8,
        "temperature_c": 41,
        "spare_percent": 97,
        "used_percent": 102,
        "media_errors": 3,
    }


def test_the_ioctls_structure_has_the_kernels_size() -> None:
    assert hardware.ctypes.sizeof(hardware._Command) == 72


def test_this_machine_can_be_read() -> None:
    assert {"gpus_on_bus", "disks", "links"} <= hardware.read().keys()
