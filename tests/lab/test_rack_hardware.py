"""Servers whose hardware differs: disk buses, NICs, UEFI, and the in-band way to the BMC."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.rack import MachineOptions, Rack
from lab.testing import ConsoleReader, rack

pytestmark = [pytest.mark.lab, pytest.mark.root]

HARDWARE = {
    1: MachineOptions(),
    2: MachineOptions(disk_bus="ahci", nic="e1000"),
    3: MachineOptions(disk_bus="virtio"),
    4: MachineOptions(disk_bus="scsi", in_band_bmc=False),
    5: MachineOptions(firmware="uefi"),
}
# A boot sector that sends "booted" to the serial port and halts.
GREETING = bytes.fromhex("31c08ed8be157cbaf803ac84c07403eeebf8f4ebfd") + b"booted\n"
# A boot sector that asks the BMC for its device id over KCS (IPMI 2.0, 9.10: ports CA2h and CA3h)
# and sends the answer in hexadecimal to the serial port (boot_sectors/ask_bmc.s).
ASK_BMC = bytes.fromhex(
    "31c08ed88ed0bc007cb061e83400b018e83700b062e82a00b001e82d00e8310024c03c407514baa30ceca801"
    "74f84aece83500b068e81200ebe3b00ae83b00f4ebfd50e80b005842eec350e8030058eec3baa30ceca80275"
    "fb4a88c480e4c080fc80750350ec58c350c0e804e8030058240f04303c397602040752baf803ee5ac3"
)
NETWORK_FUNCTION, COMMAND, COMPLETED = "1C", "01", "00"
MANUFACTURER_AND_PRODUCT = "911200020F"


@pytest.fixture(scope="module")
def mixed() -> Iterator[Rack]:
    with rack(len(HARDWARE), "ilth", disk_size="64M", memory_mib=256, options=HARDWARE) as it:
        yield it


def boot_from_disk(rack: Rack, number: int, code: bytes, expected: str) -> str:
    server = rack.servers[number - 1]
    with server.disks[0].path.open("r+b") as disk:
        disk.write(code.ljust(510, b"\0") + b"\x55\xaa")
    with ConsoleReader(rack, server.name) as console:
        rack.power(server.name, "on")
        said = console.expect(expected)
    rack.power(server.name, "off")
    return said


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_server_boots_from_its_first_disk_on_every_bus(mixed: Rack, number: int) -> None:
    boot_from_disk(mixed, number, GREETING, "booted")


def test_uefi_server_falls_through_to_the_network(mixed: Rack) -> None:
    server = mixed.servers[4].name
    with ConsoleReader(mixed, server) as console:
        mixed.power(server, "on")
        console.expect("iPXE 1")
    mixed.power(server, "off")


def test_guest_reaches_its_own_bmc_in_band(mixed: Rack) -> None:
    answer = boot_from_disk(mixed, 1, ASK_BMC, "[0-9A-F]{20,}\n")
    assert answer.startswith(NETWORK_FUNCTION + COMMAND + COMPLETED)
    assert MANUFACTURER_AND_PRODUCT in answer
