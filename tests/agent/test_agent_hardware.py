"""What the agent reads besides the GPUs, from a sysfs made for the test."""

from pathlib import Path

import pytest
from sysfs_files import put

from agent import hardware


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    return tmp_path / "sys"


def test_gpus_on_the_bus_are_counted_without_a_driver(sysfs: Path) -> None:
    bus = sysfs / "bus/pci/devices"
    put(bus / "0000:1b:00.0", vendor="0x10de", kind="0x030200")
    put(bus / "0000:43:00.0", vendor="0x10de", kind="0x030200")
    put(bus / "0000:43:00.1", vendor="0x10de", kind="0x040300")  # its audio device
    put(bus / "0000:05:00.0", vendor="0x10de", kind="0x068000")  # an NVSwitch
    put(bus / "0000:02:00.0", vendor="0x1a03", kind="0x030000")  # the BMC's display
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


def test_this_machine_can_be_read() -> None:
    assert {"gpus_on_bus", "disks", "links"} <= hardware.read().keys()
