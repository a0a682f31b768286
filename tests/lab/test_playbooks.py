"""The playbooks on a real machine, in order from inspection to the customer's login.

It is one guest in the deploy ramdisk, with two NVMe disks.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import images_machine as play
import pytest
from aiohttp import web

import lab.images
from agent.protocol import AgentConfig, Identity, ReportAnswer
from provisioner.domain.failures import FailureKind
from provisioner.domain.hardware import MEMORY_TOLERANCE
from provisioner.domain.sanitisation import SanitisationLevel, SanitiseCapabilities, methods
from provisioner.drivers.images import ImageLibrary, ImageManifest
from provisioner.drivers.plays import PlayEvent, PlayFailed
from provisioner.drivers.plays.runner import PLAYBOOKS, AnsiblePlays
from provisioner.drivers.ssh import SshTarget
from provisioner.lifecycle.steps.image import KEXEC

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

SECRET = b"the customer's secret, 0123456789"
DISK_BYTES = 2 << 30
USER_DATA = "#!/bin/sh\n# {{ 7*7 }} {% for x in y %} $(false) 'ünïcode'\n"


@dataclass
class Site:
    folder: Path
    machine: play.Machine
    disks: dict[str, Path]
    host_key: str
    library: ImageLibrary
    image: ImageManifest


@dataclass
class Bench:
    site: Site
    plays: AnsiblePlays
    images_url: str
    events: list[PlayEvent]

    async def run(self, playbook: str, variables: dict[str, Any]) -> dict[str, Any]:
        target = SshTarget("127.0.0.1", self.site.host_key, port=self.site.machine.ssh_port)
        return await self.plays.run(
            playbook, target, variables, self.events.append, timeout_s=play.PATIENCE_S
        )

    def image_order(self) -> dict[str, Any]:
        digest = self.site.image.digest
        return {
            "image_url": f"{self.images_url}/{digest}",
            "image_digest": digest,
            "disk_serial": "IL01-A",
        }


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("playbooks")
    host_key, key = play.make_key(folder, "host"), play.make_key(folder, "provisioner")
    play.make_key(folder, "customer")
    disks = {f"IL01-{letter}": folder / f"{letter}.raw" for letter in "AB"}
    for disk in disks.values():
        with disk.open("wb") as file:
            file.truncate(DISK_BYTES)
    port = play.free_port()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}\n")

    def identity(_: play.Message) -> play.Answer:
        agent = AgentConfig(provisioner.url, "srv_1", "agent-token", "ramdisk", 10.0, None)
        private = (folder / "host").read_text()
        return 200, Identity("srv_1", "r1-u01", private, key, agent).to_dict()

    answers = {
        "/boot/identity": identity,
        "/boot/ready": lambda _: (204, None),
        "/agents/report": lambda _: (200, ReportAnswer(10.0, None).to_dict()),
    }
    with play.provisioner(answers) as provisioner:
        ramdisk = lab.images.ramdisk()
        boot: list[str | Path] = [
            *("-kernel", ramdisk / "vmlinuz", "-initrd", ramdisk / "ramdisk.img", "-append"),
            "console=ttyS0 quiet net.ifnames=0 cryptomgr.notests "
            f"ironlease.url={provisioner.url} ironlease.token=t "
            f"BOOTIF=01-{play.MAC.replace(':', '-')}",
            *("-drive", f"file={disks['IL01-B']},format=raw,if=none,id=b,cache=unsafe"),
            *("-device", "nvme,drive=b,serial=IL01-B", "-m", "1024"),
        ]
        with play.machine(folder, port, boot, disks["IL01-A"]) as machine:
            library = ImageLibrary(folder / "library")
            image = import_tenant(library)
            provisioner.next("/boot/ready")
            yield Site(folder, machine, disks, host_key, library, image)
    shutil.rmtree(folder)


def import_tenant(library: ImageLibrary) -> ImageManifest:
    folder = lab.images.tenant()
    boot = json.loads((folder / "image.json").read_text())
    name, title = boot.pop("name"), boot.pop("title")
    return library.import_raw(folder / "disk.raw", name, title, boot)


@pytest.fixture
async def bench(site: Site) -> AsyncIterator[Bench]:
    service = web.Application()
    service.router.add_static("/images", site.library.root)
    runner = web.AppRunner(service)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port := play.free_port()).start()
    plays = AnsiblePlays(root=site.folder / "plays", private_key=site.folder / "provisioner")
    made = Bench(site, plays, f"http://{play.HOST}:{port}/images", [])
    yield made
    for opened in {plays, made.plays}:
        await opened.close()
    await runner.cleanup()


def write_secrets(site: Site) -> None:
    """Write through the disks themselves, as a tenant would: at the start, middle and end."""
    for name in ("nvme0n1", "nvme1n1"):
        for offset in (0, DISK_BYTES // 2, DISK_BYTES - 4096):
            command = (
                f"printf %s {SECRET.decode()!r} | head -c 33 | "
                f"dd of=/dev/{name} bs=4096 seek={offset // 4096} conv=sync,fsync 2>&1"
            ).replace("\"the customer's", "\"the customer's")
            assert site.machine.ssh("provisioner", command).returncode == 0


def holds_secret(disk: Path) -> bool:
    """Whether any trace is in the file that backs the disk."""
    with disk.open("rb") as file:
        at = 0
        while at < DISK_BYTES:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                return False  # only holes are left
            end = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            for start in range(at, end, 1 << 24):
                if SECRET[:16] in os.pread(file.fileno(), (1 << 24) + 64, start):
                    return True
            at = end
    return False


def orders(*serials: str) -> dict[str, Any]:
    return {
        "disks": [
            {"serial": s, "methods": ["nvme_sanitize_crypto", "nvme_format_user_data", "overwrite"]}
            for s in serials
        ]
    }


async def test_inspection_reports_the_hardware(bench: Bench) -> None:
    facts = (await bench.run("inspect", {}))["facts"]
    assert facts["serial"] == play.SERIAL
    assert facts["cpus"] == 1
    assert 800 < facts["memory_mib"] <= 1024
    assert [nic["mac"] for nic in facts["nics"]] == [play.MAC]
    assert facts["gpus"] == []
    found = {disk["serial"]: disk for disk in facts["disks"]}
    assert sorted(found) == ["IL01-A", "IL01-B"]
    disk = found["IL01-A"]
    assert (disk["transport"], disk["size_bytes"]) == ("nvme", DISK_BYTES)
    can = SanitiseCapabilities(**disk["capabilities"])
    assert not can.sanitize_crypto
    assert "nvme_format_user_data" in methods(can, SanitisationLevel.CLEAR)


async def test_validation_passes_what_is_as_inspected_and_names_every_difference(
    bench: Bench,
) -> None:
    expect = {"cpus": 1, "memory_mib": 800, "disks": ["IL01-A", "IL01-B"]}
    variables = {"expect": expect, "memory_tolerance": MEMORY_TOLERANCE}
    passed = await bench.run("validate", variables)
    assert "2 disks healthy" in passed["validation"]["summary"]
    wrong = {"cpus": 2, "memory_mib": 64000, "disks": ["IL01-A", "IL01-X"]}
    with pytest.raises(PlayFailed) as caught:
        await bench.run("validate", {**variables, "expect": wrong})
    assert caught.value.kind is FailureKind.SERVER_FAULT
    for part in ("1 CPUs", "64000 MiB", "IL01-X is missing", "IL01-B is new"):
        assert part in caught.value.reason


@pytest.mark.parametrize(
    ("serials", "reason"),
    [
        (("IL01-A",), "IL01-B (nvme1n1) was never inspected"),
        (("IL01-A", "IL01-B", "IL01-C"), "disk IL01-C is absent"),
    ],
)
async def test_a_disk_too_many_or_too_few_stops_sanitising_before_it_starts(
    bench: Bench, serials: tuple[str, ...], reason: str
) -> None:
    write_secrets(bench.site)
    with pytest.raises(PlayFailed) as caught:
        await bench.run("sanitise", orders(*serials))
    assert caught.value.kind is FailureKind.SERVER_FAULT
    assert reason in caught.value.reason
    assert all(holds_secret(disk) for disk in bench.site.disks.values())


async def test_a_disk_that_reports_success_and_kept_its_data_is_a_server_fault(
    bench: Bench, tmp_path: Path
) -> None:
    """The method is replaced by one that reports success; disks and read-back are real."""
    shutil.copytree(PLAYBOOKS, tmp_path / "playbooks")
    module = tmp_path / "playbooks/library/sanitise_disks.py"
    lie = 'METHODS["nvme_format_user_data"] = (lambda raw, report: None, False)\n\n\n'
    module.write_text(module.read_text().replace("class Reporter", f"{lie}class Reporter"))
    bench.plays = AnsiblePlays(
        root=tmp_path / "plays",
        private_key=bench.site.folder / "provisioner",
        playbooks=tmp_path / "playbooks",
    )
    with pytest.raises(PlayFailed) as caught:
        await bench.run("sanitise", orders("IL01-A", "IL01-B"))
    assert caught.value.kind is FailureKind.SERVER_FAULT
    assert "kept its data" in caught.value.reason
    assert [e["verified"] for e in caught.value.evidence["results"]] == [False, False]


async def test_both_disks_are_sanitised_and_the_result_records_how(bench: Bench) -> None:
    write_secrets(bench.site)
    results = (await bench.run("sanitise", orders("IL01-A", "IL01-B")))["results"]
    assert [(e["serial"], e["method"], e["verified"]) for e in results] == [
        ("IL01-A", "nvme_format_user_data", True),
        ("IL01-B", "nvme_format_user_data", True),
    ]
    for erasure in results:
        outcomes = [(a["method"], a["outcome"]) for a in erasure["attempts"]]
        assert outcomes == [
            ("nvme_sanitize_crypto", "refused"),
            ("nvme_format_user_data", "sanitised"),
        ]
        assert erasure["sample_count"] >= 1000
        assert erasure["marker_count"] >= 64
    assert not any(holds_secret(disk) for disk in bench.site.disks.values())
    assert any("refused by the disk" in event.text for event in bench.events)


async def test_a_disk_of_zeroes_is_overwritten_and_checked_too(bench: Bench) -> None:
    write_secrets(bench.site)
    order = {
        "disks": [
            {"serial": "IL01-A", "methods": ["nvme_format_user_data"]},
            {"serial": "IL01-B", "methods": ["discard_and_overwrite"]},
        ]
    }
    results = (await bench.run("sanitise", order))["results"]
    assert [e["method"] for e in results] == ["nvme_format_user_data", "discard_and_overwrite"]
    assert not any(holds_secret(disk) for disk in bench.site.disks.values())


async def test_a_corrupt_chunk_is_named_and_stops_the_imaging(bench: Bench) -> None:
    chunk = bench.site.library.chunk_path(bench.site.image.digest, 2)
    good = chunk.read_bytes()
    chunk.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    try:
        with pytest.raises(PlayFailed, match="chunk 2 is corrupt") as caught:
            await bench.run("image", bench.image_order())
    finally:
        chunk.write_bytes(good)
    assert caught.value.kind is FailureKind.CONFIGURATION


async def test_an_image_that_cannot_be_fetched_is_tried_again_later(bench: Bench) -> None:
    order = bench.image_order() | {"image_url": f"http://{play.HOST}:9/images/none"}
    with pytest.raises(PlayFailed, match="could not be fetched") as caught:
        await bench.run("image", order)
    assert caught.value.kind is FailureKind.TRANSIENT


async def test_the_customer_logs_in_to_the_system_that_was_written(bench: Bench) -> None:
    site = bench.site
    imaging = (await bench.run("image", bench.image_order()))["imaging"]
    mapped = sum(length for chunk in site.image.chunks for _, length in chunk.ranges)
    assert imaging["bytes_written"] == mapped
    customer = (site.folder / "customer.pub").read_text()
    answer = await bench.run(
        "personalise",
        {
            "disk_serial": "IL01-A",
            "boot": site.image.boot,
            "instance_id": "lse_1",
            "hostname": "node-1",
            "authorized_keys": [customer],
            "user_data": USER_DATA,
            "ssh_host_key": (site.folder / "host").read_text(),
            "ssh_host_public_key": site.host_key,
            "agent": {"url": "http://127.0.0.1:9", "token": "agent-secret"},
        },
    )
    assert answer == {"kexec_loaded": True}
    assert "agent-secret" not in repr(bench.events)
    table = site.machine.ssh("provisioner", "sfdisk --verify /dev/nvme0n1")
    assert "No errors detected" in table.stdout, table.stdout + table.stderr
    assert site.machine.ssh("provisioner", KEXEC).returncode == 0
    seen = await asyncio.to_thread(first_login, site.machine)
    hostname, root, mode, *user_data = seen.splitlines()
    assert (hostname, root, mode) == ("node-1", "/dev/nvme0n1p2", "600")
    assert "\n".join(user_data) + "\n" == USER_DATA


def first_login(machine: play.Machine) -> str:
    # A connection begun before kexec would hang on a kernel that is gone.
    deadline = time.monotonic() + play.PATIENCE_S
    while b"node-1 login:" not in machine.console.read_bytes():
        assert time.monotonic() < deadline, machine.console.read_text(errors="replace")[-2000:]
        time.sleep(0.2)
    command = (
        "hostname; findmnt -no SOURCE /; stat -c %a /etc/ironlease/agent.json; "
        "cat /var/lib/cloud/seed/nocloud/user-data"
    )
    seen = machine.ssh("customer", command)
    assert seen.returncode == 0, seen.stderr
    return seen.stdout
