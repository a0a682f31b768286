"""Machines of a rack: power by IPMI, boot order, consoles, disks and their faults."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Iterator

import pytest

from lab.rack import Rack, RackError
from lab.rack.plan import BMC_PASSWORD, BMC_USER
from lab.testing import ConsoleReader, rack

pytestmark = [pytest.mark.lab, pytest.mark.root]

SERVER = "r1-u01"
FIRMWARE = "SeaBIOS"
NETWORK_BOOT = "Configuring"
# A boot sector that reads and writes sector 1 for ever and reports on the serial port: R or E for a
# read that worked or failed, W or F for a write.
WATCHER = (
    bytes.fromhex(
        "31c08ed88ec08ed0bc007cfb"  # segments 0, stack below, interrupts on
        "b80102bb0080b90200ba8000cd13b0527302b045baf803ee"  # int 13h read, out 3f8h
        "b80103bb0080b90200ba8000cd13b0577302b046baf803ee"  # int 13h write, out 3f8h
        "f4ebcd"  # halt to the next clock tick, again
    ).ljust(510, b"\0")
    + b"\x55\xaa"
)

# Says "up", then obeys one key: r resets, any other powers off (boot_sectors/obey.s).
OBEY = (
    bytes.fromhex(
        "fabaf803b075eeb070eebafd03eca80174fbbaf803ec3c727409ba0406b80020efeb04b0fee664f4ebfd"
    ).ljust(510, b"\0")
    + b"\x55\xaa"
)


@pytest.fixture(scope="module")
def two_servers() -> Iterator[Rack]:
    with rack(2, "iltm", disk_size="64M", memory_mib=128) as it:
        yield it


@pytest.fixture
def powered_off(two_servers: Rack) -> Iterator[Rack]:
    yield two_servers
    for server in two_servers.servers:
        two_servers.power(server.name, "off")
        two_servers.boot(server.name, "default")


def ipmi(rack: Rack, *words: str) -> str:
    address = rack.plan.server(SERVER).bmc_address
    login = ["-H", address, "-U", BMC_USER, "-P", BMC_PASSWORD]
    return rack.exec(["ipmitool", "-I", "lanplus", "-C", "3", *login, *words]).stdout


def install(rack: Rack, boot_sector: bytes) -> None:
    with rack.plan.server(SERVER).disks[0].path.open("r+b") as disk:
        disk.write(boot_sector)


def test_ipmi_power_is_read_back_and_repeats_harmlessly(powered_off: Rack) -> None:
    assert "is off" in ipmi(powered_off, "power", "status")
    ipmi(powered_off, "power", "on")
    assert "is on" in ipmi(powered_off, "power", "status")
    ipmi(powered_off, "power", "on")
    assert powered_off.server_status(SERVER)["starts"] == 1
    ipmi(powered_off, "power", "off")
    ipmi(powered_off, "power", "off")
    assert "is off" in ipmi(powered_off, "power", "status")
    assert powered_off.power(SERVER) is False


def test_reset_of_a_server_without_power_leaves_it_off(powered_off: Rack) -> None:
    ipmi(powered_off, "power", "reset")
    assert powered_off.power(SERVER) is False


def test_console_output_is_kept_over_power_cycles(powered_off: Rack) -> None:
    with ConsoleReader(powered_off, SERVER) as console:
        ipmi(powered_off, "power", "on")
        console.expect(FIRMWARE)
        ipmi(powered_off, "power", "cycle")
        console.expect(FIRMWARE)
        ipmi(powered_off, "power", "reset")
        console.expect(FIRMWARE)
    assert powered_off.console_text(SERVER).count(FIRMWARE) >= 3


def test_empty_disks_fall_through_to_the_network(powered_off: Rack) -> None:
    with ConsoleReader(powered_off, SERVER) as console:
        ipmi(powered_off, "power", "on")
        console.expect(NETWORK_BOOT)


def test_pxe_boot_override_holds_for_one_start(powered_off: Rack) -> None:
    install(powered_off, WATCHER)
    with ConsoleReader(powered_off, SERVER) as console:
        ipmi(powered_off, "chassis", "bootdev", "pxe")
        ipmi(powered_off, "power", "on")
        console.expect(NETWORK_BOOT)
        ipmi(powered_off, "power", "reset")
        console.expect("RWRW")


def test_reset_from_inside_boots_what_the_bmc_says_now(powered_off: Rack) -> None:
    install(powered_off, OBEY)
    with ConsoleReader(powered_off, SERVER) as console:
        powered_off.power(SERVER, "on")
        console.expect("up")
        console.type("r")
        console.expect("up")
        ipmi(powered_off, "chassis", "bootdev", "pxe")
        console.type("r")
        console.expect(NETWORK_BOOT)
    assert powered_off.server_status(SERVER)["boot"] == "default"


def test_server_that_powers_itself_off_is_off_and_stays_so(powered_off: Rack) -> None:
    install(powered_off, OBEY)
    with ConsoleReader(powered_off, SERVER) as console:
        powered_off.power(SERVER, "on")
        console.expect("up")
        console.type("o")
    assert powered_off.await_off(SERVER)
    assert "is off" in ipmi(powered_off, "power", "status")


def test_broken_disk_fails_every_access_at_once_and_heals(powered_off: Rack) -> None:
    install(powered_off, WATCHER)
    disk = powered_off.plan.server(SERVER).disks[0].serial
    with ConsoleReader(powered_off, SERVER) as console:
        powered_off.power(SERVER, "on")
        console.expect("RWRW")
        powered_off.disk_fault(SERVER, disk, "break")
        console.expect("EFEF")
        powered_off.disk_fault(SERVER, disk, None)
        console.expect("RWRW")


def test_full_disk_fails_writes_and_still_reads(powered_off: Rack) -> None:
    install(powered_off, WATCHER)
    disk = powered_off.plan.server(SERVER).disks[0].serial
    powered_off.disk_fault(SERVER, disk, "fill")
    with ConsoleReader(powered_off, SERVER) as console:
        powered_off.power(SERVER, "on")
        console.expect("RFRF")
        powered_off.disk_fault(SERVER, disk, None)
        console.expect("RWRW")


def test_killed_machine_has_no_power(powered_off: Rack) -> None:
    powered_off.power(SERVER, "on")
    powered_off.kill(SERVER)
    assert "is off" in ipmi(powered_off, "power", "status")


def test_fault_of_an_unknown_disk_is_refused(powered_off: Rack) -> None:
    with pytest.raises(RackError, match="no disk 'nosuch'; it has IL01-A, IL01-B"):
        powered_off.disk_fault(SERVER, "nosuch", "break")


@pytest.mark.timeout(90)
def test_serial_over_lan_shows_the_boots_before_and_after_a_reset(powered_off: Rack) -> None:
    address = powered_off.plan.server(SERVER).bmc_address
    login = ["-H", address, "-U", BMC_USER, "-P", BMC_PASSWORD]
    words = ["stdbuf", "-o0", "ipmitool", "-I", "lanplus", "-C", "3", *login, "sol", "activate"]
    with subprocess.Popen(
        powered_off.command(words), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as session:
        read_until(session, b"SOL Session operational")
        ipmi(powered_off, "power", "on")
        read_until(session, FIRMWARE.encode())
        ipmi(powered_off, "power", "reset")
        read_until(session, FIRMWARE.encode())
        session.terminate()


def read_until(session: subprocess.Popen[bytes], wanted: bytes) -> None:
    assert isinstance(session.stdout, io.BufferedReader)
    seen = b""
    while wanted not in seen:
        data = session.stdout.read1(4096)
        assert data, seen
        seen += data
