"""The deploy ramdisk, booted: identity, SSH, readiness, and a token that is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import images_machine as play
import pytest

import lab.images
from agent.protocol import AgentConfig, Identity, IdentityRequest, Ready, Report, ReportAnswer

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]


class Booted(NamedTuple):
    provisioner: play.PlayedProvisioner
    machine: play.Machine
    request: IdentityRequest
    repeated: IdentityRequest
    ready: Ready
    ready_by: str | None


def boot_arguments(url: str) -> list[str | Path]:
    image = lab.images.ramdisk()
    cmdline = (
        "console=ttyS0 quiet net.ifnames=0 cryptomgr.notests "
        f"ironlease.url={url} ironlease.token=spend-me BOOTIF=01-{play.MAC.replace(':', '-')}"
    )
    kernel, ramdisk = image / "vmlinuz", image / "ramdisk.img"
    return ["-kernel", kernel, "-initrd", ramdisk, "-append", cmdline]


def blank_disk(folder: Path) -> Path:
    disk = folder / "disk.raw"
    with disk.open("wb") as file:
        file.truncate(64 << 20)
    return disk


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Booted]:
    folder = tmp_path_factory.mktemp("ramdisk")
    host_key, user_key = play.make_key(folder, "host"), play.make_key(folder, "user")
    play.make_key(folder, "stranger")
    port = play.free_port()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}\n")

    answered = iter([(503, None)])  # the first answer is lost

    def identity(_: play.Message) -> play.Answer:
        for lost in answered:
            return lost
        agent = AgentConfig(provisioner.url, "srv_1", "agent-token", "ramdisk", 10.0, None)
        private = (folder / "host").read_text()
        return 200, Identity("srv_1", "r1-u01", private, user_key, agent).to_dict()

    answers = {
        "/boot/identity": identity,
        "/boot/ready": lambda _: (204, None),
        "/agents/report": lambda _: (200, ReportAnswer(10.0, None).to_dict()),
    }
    with play.provisioner(answers) as provisioner:
        arguments = boot_arguments(provisioner.url)
        with play.machine(folder, port, arguments, blank_disk(folder)) as machine:
            request, _ = provisioner.next("/boot/identity")
            repeated, _ = provisioner.next("/boot/identity")
            ready, ready_by = provisioner.next("/boot/ready")
            yield Booted(
                provisioner,
                machine,
                IdentityRequest.from_dict(request),
                IdentityRequest.from_dict(repeated),
                Ready.from_dict(ready),
                ready_by,
            )


def test_the_boot_token_is_exchanged_with_the_facts_of_this_machine(booted: Booted) -> None:
    assert booted.request.token == "spend-me"
    assert (booted.request.serial, booted.request.mac) == (play.SERIAL, play.MAC)


def test_a_lost_answer_is_asked_for_again_with_the_nonce_of_this_boot(booted: Booted) -> None:
    assert len(booted.request.nonce) == 32
    assert booted.repeated == booted.request


def test_readiness_is_reported_under_the_new_identity(booted: Booted) -> None:
    assert booted.ready_by == "Bearer agent-token"
    assert booted.ready.boot_id == booted.request.boot_id


def test_the_issued_key_logs_in_and_the_host_key_is_the_issued_one(booted: Booted) -> None:
    seen = booted.machine.ssh("user", "hostname; cat /proc/sys/kernel/random/boot_id")
    assert seen.stdout.split() == ["r1-u01", booted.request.boot_id], seen.stderr


def test_another_key_is_refused(booted: Booted) -> None:
    seen = booted.machine.ssh("stranger", "true")
    assert seen.returncode == 255
    assert "Permission denied" in seen.stderr


def test_plays_find_what_they_need(booted: Booted) -> None:
    tools = "nvme blkdiscard kexec zstd sfdisk mke2fs ipmitool dmidecode smartctl curl hdparm"
    check = (
        f"for tool in {tools}; do command -v $tool >/dev/null || echo missing $tool; done; "
        "python3 -c 'import ssl, ctypes, zlib, sqlite3, asyncio'; "
        "echo abc | tee >(sha256sum | cut -c1-8 >/tmp/sum) >/dev/null; sleep 0.5; cat /tmp/sum; "
        "stat -c %F /dev/nvme0n1; stat -c %a /etc/ironlease/agent.json"
    )
    seen = booted.machine.ssh("user", check)
    assert seen.stdout.splitlines() == ["edeaaff3", "block special file", "600"], seen.stderr
    assert seen.stderr == ""


def test_the_agent_reports_from_the_ramdisk(booted: Booted) -> None:
    message, authorization = booted.provisioner.next("/agents/report")
    report = Report.from_dict(message)
    assert authorization == "Bearer agent-token"
    assert (report.context, report.hostname, report.lease) == ("ramdisk", "r1-u01", None)
    assert report.boot_id == booted.request.boot_id


def test_the_agent_reads_the_disks_smart_log_and_misses_no_gpu_driver(booted: Booted) -> None:
    health: dict[str, Any] = {}
    while not health.get("disks") or health["state"] == "starting":
        message, _ = booted.provisioner.next("/agents/report")
        health = Report.from_dict(message).health or {}
    [disk] = health["disks"]
    assert (disk["name"], disk["serial"], disk["state"]) == ("nvme0", "IL01-A", "live")
    assert (disk["critical_warning"], disk["media_errors"]) == (0, 0)
    assert 0 < disk["temperature_c"] < 100
    assert (health["state"], health["gpus_on_bus"]) == ("absent", 0)


def test_a_refused_token_opens_nothing_and_says_why(tmp_path: Path) -> None:
    refusal = {"title": "Forbidden", "status": 403, "detail": "the boot token is spent"}
    answers = {"/boot/identity": lambda _: (403, refusal), "/boot/ready": lambda _: (204, None)}
    with play.provisioner(answers) as provisioner:
        arguments = boot_arguments(provisioner.url)
        disk, port = blank_disk(tmp_path), play.free_port()
        with play.machine(tmp_path, port, arguments, disk) as machine:
            provisioner.next("/boot/identity")
            assert machine.process.wait(play.PATIENCE_S) == 0  # it reboots by itself
    assert provisioner.asked["/boot/ready"].empty()
    assert "the boot token is spent (403)" in (tmp_path / "console").read_text(errors="replace")
