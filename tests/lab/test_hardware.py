"""Hardware other than NVMe behind SeaBIOS, through the whole intake on real machines.

AHCI disks, an e1000 NIC, UEFI, and the in-band path to the BMC, which a tenant has too.
"""

import subprocess
from collections.abc import Iterator

import pytest

from lab.rack import Rack
from lab.rack.plan import MachineOptions
from lab.site import Site

pytestmark = [pytest.mark.lab, pytest.mark.root, pytest.mark.timeout(900)]

OTHER_HARDWARE, UEFI = "r1-u01", "r1-u02"
INTAKE_S = 600


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    options = {
        1: MachineOptions(disk_bus="ahci", nic="e1000"),
        2: MachineOptions(firmware="uefi"),
    }
    Rack.down("ilhw")
    with (
        Rack.up("ilhw", servers=2, disk_size="256M", options=options) as rack,
        Site(rack, full_kernel=True) as site,
    ):
        site.enrol()
        yield site


@pytest.fixture(scope="module")
def available(site: Site) -> Site:
    for name in (OTHER_HARDWARE, UEFI):
        site.wait_for_state(name, "available", "quarantined", timeout_s=INTAKE_S)
    return site


def in_ramdisk(site: Site, server: str, command: str) -> str:
    """Run a command in the waiting ramdisk, with the provisioner's key."""
    key = site.folder / "data" / "ssh" / "id_ed25519"
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    address = site.server(server)["address"]
    ssh = ["ssh", "-i", str(key), *options, "-o", "LogLevel=ERROR", f"root@{address}", command]
    return subprocess.run(
        site.rack.command(ssh), check=True, capture_output=True, text=True, timeout=120
    ).stdout


def test_ahci_disks_are_overwritten_and_read_back(available: Site) -> None:
    server = available.server(OTHER_HARDWARE)
    assert server["state"] == "available", server["reason"]
    assert {disk["transport"] for disk in server["disks"]} == {"sata"}
    assert all(disk["sanitised"] for disk in server["disks"])
    certificates = available.get(f"/servers/{OTHER_HARDWARE}/certificates")["items"]
    assert {certificate["method"] for certificate in certificates} == {"discard_and_overwrite"}


def test_a_uefi_server_boots_the_ramdisk_over_the_network(available: Site) -> None:
    server = available.server(UEFI)
    assert server["state"] == "available", server["reason"]
    assert "efi" in in_ramdisk(available, UEFI, "ls /sys/firmware")


def test_from_inside_a_server_its_own_bmc_is_reached(available: Site) -> None:
    before = in_ramdisk(available, OTHER_HARDWARE, "ipmitool user list")
    assert "admin" in before
    # What root does in band is visible out of band: it is the same BMC.
    in_ramdisk(available, OTHER_HARDWARE, "ipmitool user set name 3 planted")
    bmc = available.rack.plan.server(OTHER_HARDWARE).bmc_address
    lan = ["ipmitool", "-I", "lanplus", "-C", "3", "-H", bmc, "-U", "admin", "-P", "secret"]
    assert "planted" in available.rack.exec([*lan, "user", "list"]).stdout
