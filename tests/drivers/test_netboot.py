"""dnsmasq in a network namespace, queried by a real DHCP client in another."""

import asyncio
import filecmp
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest

from provisioner.drivers.netboot.dnsmasq import Dnsmasq, DnsmasqFailed
from provisioner.drivers.netboot.dnsmasq_settings import DnsmasqSettings
from provisioner.drivers.netboot.ipxe import first_script

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(
        os.geteuid() != 0 or not (shutil.which("dnsmasq") and shutil.which("busybox")),
        reason="needs root, dnsmasq-base and busybox",
    ),
]

SERVER, CLIENT = "ild1", "ild2"
KNOWN = ("52:54:00:77:00:01", "10.77.0.11", "r1-u01")
IN_SERVER = ("ip", "netns", "exec", SERVER, "dnsmasq")


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def wire() -> Iterator[None]:
    """Two namespaces with a cable between them: `prov` at the provisioner, `nic` at the client."""
    for name in (SERVER, CLIENT):
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        ip("netns", "add", name)
    ip("-n", SERVER, "link", "add", "prov", "type", "veth", "peer", "nic", "netns", CLIENT)
    ip("-n", SERVER, "address", "add", "10.77.0.1/24", "dev", "prov")
    ip("-n", SERVER, "address", "add", "fd77::1/64", "dev", "prov", "nodad")
    ip("-n", SERVER, "link", "set", "prov", "up")
    ip("-n", CLIENT, "link", "set", "nic", "up")
    yield
    for name in (SERVER, CLIENT):
        ip("netns", "del", name)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that dnsmasq's user can reach, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="ironlease-netboot-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def settings(wire: None, folder: Path) -> DnsmasqSettings:
    return DnsmasqSettings(
        interface="prov",
        address=IPv4Interface("10.77.0.1/24"),
        base_url="http://10.77.0.1:8080",
        state_dir=folder / "state",
        tftp_root=folder / "tftp",
    )


@pytest.fixture
async def dnsmasq(settings: DnsmasqSettings) -> AsyncIterator[Dnsmasq]:
    dnsmasq = Dnsmasq(settings, command=IN_SERVER)
    await dnsmasq.start([KNOWN])
    yield dnsmasq
    await dnsmasq.stop()


@dataclass
class Lease:
    address: str
    boot_file: str
    hostname: str


async def in_client(*command: str) -> str:
    """Run at the client; return its output, whatever the status."""
    process = await asyncio.create_subprocess_exec(
        *("ip", "netns", "exec", CLIENT, *command),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    return (await process.communicate())[0].decode()


async def ask(folder: Path, mac: str = KNOWN[0], *options: str) -> Lease | None:
    """Make one DHCP exchange as the machine `mac`; None if nobody answers."""
    script = folder / "bound"
    script.write_text(
        '#!/bin/sh\n[ "$1" = bound ] && echo "LEASE $ip|$boot_file|$hostname"\nexit 0\n'
    )
    script.chmod(0o755)
    await in_client("ip", "link", "set", "nic", "address", mac)
    client = ("busybox", "udhcpc", "-f", "-n", "-q", "-t", "3", "-T", "1", "-i", "nic")
    output = await in_client(*client, "-s", str(script), "-O", "hostname", *options)
    for line in output.splitlines():
        if line.startswith("LEASE "):
            return Lease(*line.removeprefix("LEASE ").split("|"))
    return None


async def test_known_machine_gets_its_reserved_address_and_name(
    dnsmasq: Dnsmasq, folder: Path
) -> None:
    lease = await ask(folder)
    assert lease is not None
    assert (lease.address, lease.hostname) == ("10.77.0.11", "r1-u01")


@pytest.mark.parametrize(
    ("options", "boot_file"),
    [
        ((), "undionly.kpxe"),
        (("-x", "0x5d:0007"), "snponly.efi"),
        (("-x", "0xaf:010101"), "boot.ipxe"),
        (("-x", "0xaf:010101", "-x", "0x5d:0007"), "boot.ipxe"),
    ],
    ids=["BIOS", "UEFI", "iPXE", "iPXE-on-UEFI"],
)
async def test_every_firmware_is_told_what_to_boot(
    dnsmasq: Dnsmasq, folder: Path, options: tuple[str, ...], boot_file: str
) -> None:
    lease = await ask(folder, KNOWN[0], *options)
    assert lease is not None
    assert lease.boot_file == boot_file


async def test_boot_programs_are_served_by_tftp(dnsmasq: Dnsmasq, folder: Path) -> None:
    await ask(folder)
    await in_client("ip", "address", "replace", "10.77.0.11/24", "dev", "nic")
    for name in ("undionly.kpxe", "snponly.efi"):
        await in_client("busybox", "tftp", "-g", "-r", name, "-l", f"{folder}/{name}", "10.77.0.1")
        assert filecmp.cmp(folder / name, f"/usr/lib/ipxe/{name}", shallow=False)
    script = folder / "script"
    await in_client("busybox", "tftp", "-g", "-r", "boot.ipxe", "-l", str(script), "10.77.0.1")
    assert script.read_text() == first_script("http://10.77.0.1:8080")
    await in_client("ip", "address", "flush", "dev", "nic")


async def test_unknown_machine_gets_no_address_and_is_still_seen(
    dnsmasq: Dnsmasq, folder: Path
) -> None:
    before = datetime.now(UTC)
    assert dnsmasq.dhcp_seen("52:54:00:77:00:99") is None
    assert await ask(folder, "52:54:00:77:00:99") is None
    seen = dnsmasq.dhcp_seen("52:54:00:77:00:99")
    assert seen is not None
    assert seen >= before
    assert dnsmasq.dhcp_seen(KNOWN[0]) is None


async def test_unknown_machine_gets_an_address_of_the_pool_where_there_is_one(
    settings: DnsmasqSettings, folder: Path
) -> None:
    pool = (IPv4Address("10.77.0.100"), IPv4Address("10.77.0.100"))
    dnsmasq = Dnsmasq(replace(settings, pool=pool), command=IN_SERVER)
    await dnsmasq.start([KNOWN])
    lease = await ask(folder, "52:54:00:77:00:99")
    await dnsmasq.stop()
    assert lease is not None
    assert lease.address == "10.77.0.100"


async def test_changed_hosts_are_answered_at_once(dnsmasq: Dnsmasq, folder: Path) -> None:
    added = ("52:54:00:77:00:02", "10.77.0.12", "r1-u02")
    pid = dnsmasq.pid
    await dnsmasq.set_hosts([KNOWN, added])
    lease = await ask(folder, added[0])
    assert lease is not None
    assert lease.address == "10.77.0.12"
    await dnsmasq.set_hosts([KNOWN])
    assert await ask(folder, added[0]) is None
    assert dnsmasq.pid == pid, "reread, not started again"


async def test_address_passes_to_another_machine_though_leased(
    dnsmasq: Dnsmasq, folder: Path
) -> None:
    assert await ask(folder) is not None
    replaced = ("52:54:00:77:00:0a", KNOWN[1], KNOWN[2])
    await dnsmasq.set_hosts([replaced])
    lease = await ask(folder, replaced[0])
    assert lease is not None
    assert lease.address == KNOWN[1]


async def test_killed_dnsmasq_is_started_again_and_reported(
    settings: DnsmasqSettings, folder: Path
) -> None:
    died = asyncio.Event()
    dnsmasq = Dnsmasq(settings, command=IN_SERVER, on_death=lambda _reason: died.set())
    await dnsmasq.start([KNOWN])
    assert dnsmasq.pid is not None
    os.kill(dnsmasq.pid, signal.SIGKILL)
    await died.wait()
    async with asyncio.timeout(30):
        while (lease := await ask(folder)) is None:
            pass
    await dnsmasq.stop()
    assert lease.address == KNOWN[1]


async def test_leftover_of_a_killed_provisioner_is_replaced(
    settings: DnsmasqSettings, folder: Path
) -> None:
    (settings.state_dir).mkdir()
    left_over = Dnsmasq(settings, command=IN_SERVER)
    await left_over.start()
    old = left_over.pid
    assert left_over._supervisor is not None
    left_over._supervisor.cancel()  # nobody supervises it any more
    dnsmasq = Dnsmasq(settings, command=IN_SERVER)
    await dnsmasq.start([KNOWN])
    assert dnsmasq.pid != old
    assert await ask(folder) is not None
    await dnsmasq.stop()


async def test_stopped_dnsmasq_answers_nobody(settings: DnsmasqSettings, folder: Path) -> None:
    dnsmasq = Dnsmasq(settings, command=IN_SERVER)
    await dnsmasq.start([KNOWN])
    await dnsmasq.stop()
    assert dnsmasq.pid is None
    assert await ask(folder) is None


async def test_missing_interface_is_named_at_the_start(settings: DnsmasqSettings) -> None:
    dnsmasq = Dnsmasq(replace(settings, interface="nowhere0"), command=IN_SERVER)
    with pytest.raises(DnsmasqFailed, match="nowhere0"):
        await dnsmasq.start()


async def test_folder_that_dnsmasq_cannot_reach_is_named_at_the_start(
    settings: DnsmasqSettings, folder: Path
) -> None:
    (folder / "closed").mkdir(mode=0o700)
    dnsmasq = Dnsmasq(replace(settings, state_dir=folder / "closed" / "state"), command=IN_SERVER)
    with pytest.raises(DnsmasqFailed, match="cannot reach"):
        await dnsmasq.start()


async def test_bad_host_changes_nothing(dnsmasq: Dnsmasq, folder: Path) -> None:
    with pytest.raises(ValueError, match="dnsmasq"):
        await dnsmasq.set_hosts([("52:54:00:77:00:01", "10.77.0.12", "bad,name")])
    lease = await ask(folder)
    assert lease is not None
    assert lease.address == KNOWN[1]
