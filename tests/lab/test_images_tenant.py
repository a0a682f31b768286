"""The tenant image, booted as the customer's: login, seed, growth, and the end of the lease."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import images_machine as play
import pytest
from agent_grants import LiveSite

import lab.images
from agent.protocol import AgentConfig, Report, ReportAnswer

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

ROOT_OFFSET = 4096 * 512


class Tenancy(NamedTuple):
    provisioner: play.PlayedProvisioner
    machine: play.Machine
    site: LiveSite


def debugfs(disk: Path, *commands: str, write: bool = True) -> str:
    done = subprocess.run(
        ["debugfs", *(["-w"] if write else []), "-f", "-", f"{disk}?offset={ROOT_OFFSET}"],
        input="\n".join(commands),
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def personalise(disk: Path, folder: Path, agent: AgentConfig) -> None:
    """Write what the provisioner's play writes, without mounting."""
    files = {
        "/root/.ssh/authorized_keys": (folder / "user.pub").read_text(),
        "/etc/ssh/ssh_host_ed25519_key": (folder / "host").read_text(),
        "/etc/ironlease/agent.json": agent.to_json(),
        "/etc/systemd/network/05-ironlease.network": (
            f"[Match]\nMACAddress={play.MAC}\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n"
        ),
        "/var/lib/cloud/seed/nocloud/meta-data": "instance-id: i-1\nlocal-hostname: r1-u01\n",
        "/var/lib/cloud/seed/nocloud/user-data": "#!/bin/sh\nhostname >>/root/by-user-data\n",
    }
    folders = ["/root/.ssh", "/etc/ironlease", "/etc/systemd/network", "/var/lib/cloud"]
    folders += ["/var/lib/cloud/seed", "/var/lib/cloud/seed/nocloud"]
    commands = [f"mkdir {path}" for path in folders] + ["sif /root/.ssh mode 040700"]
    for number, (path, text) in enumerate(files.items()):
        source = folder / f"file-{number}"
        source.write_text(text)
        commands += [f"write {source} {path}", f"sif {path} mode 0100600"]
        commands += [f"sif {path} {field} 0" for field in ("uid", "gid")]
    commands += ["sif /etc/systemd/network/05-ironlease.network mode 0100644"]
    debugfs(disk, *commands)


@pytest.fixture(scope="module")
def tenancy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenancy]:
    folder = tmp_path_factory.mktemp("tenant")
    image = lab.images.tenant()
    described = json.loads((image / "image.json").read_text())
    disk = folder / "disk.raw"
    subprocess.run(["cp", "--sparse=always", image / "disk.raw", disk], check=True)
    with disk.open("r+b") as file:
        file.truncate(2 << 30)
    host_key = play.make_key(folder, "host")
    play.make_key(folder, "user")
    port = play.free_port()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}\n")
    now = time.time()
    site = LiveSite(not_before=now, not_after=now + 3600, serial=play.SERIAL)

    def report(message: play.Message) -> play.Answer:
        return 200, ReportAnswer(1.0, site.grant(message["echo"])).to_dict()

    answers = {"/agents/report": report, "/agents/grant": lambda _: (204, None)}
    with play.provisioner(answers) as provisioner:
        agent = replace(site.config(site.grant()), url=provisioner.url, interval_s=1.0)
        personalise(disk, folder, agent)
        # /boot/vmlinuz is a link to the newest kernel, which debugfs does not follow.
        target = debugfs(disk, f"stat {described['kernel']}", write=False)
        name = target.split('Fast link dest: "')[1].split('"')[0]
        debugfs(disk, f"dump /boot/{name} {folder / 'vmlinuz'}", write=False)
        debugfs(disk, f"dump {described['cmdline']} {folder / 'cmdline'}", write=False)
        cmdline = (folder / "cmdline").read_text().strip()
        boot = ["-kernel", folder / "vmlinuz", "-append", cmdline]
        with play.machine(folder, port, boot, disk) as machine:
            yield Tenancy(provisioner, machine, site)
    shutil.rmtree(folder)


def next_report(tenancy: Tenancy) -> Report:
    message, _ = tenancy.provisioner.next("/agents/report")
    return Report.from_dict(message)


def test_the_agent_reports_the_lease(tenancy: Tenancy) -> None:
    report = next_report(tenancy)
    assert report.context == "tenant"
    assert report.lease is not None
    assert (report.lease.id, report.lease.locked) == ("lse_1", False)
    assert 0 < report.lease.remaining_s <= 3600


def test_the_customers_key_logs_in_to_the_issued_host_key(tenancy: Tenancy) -> None:
    seen = tenancy.machine.ssh("user", "findmnt -no SOURCE /; systemctl --version | head -n 1")
    assert seen.returncode == 0, seen.stderr
    assert seen.stdout.startswith("/dev/")


def test_the_boot_completes_with_nothing_failed(tenancy: Tenancy) -> None:
    seen = tenancy.machine.ssh("user", "systemctl is-system-running --wait; systemctl --failed")
    assert seen.stdout.startswith("running"), seen.stdout


def test_the_seed_is_applied_and_the_root_has_grown(tenancy: Tenancy) -> None:
    seen = tenancy.machine.ssh("user", "cat /root/by-user-data; hostname; df --output=size -m /")
    by_user_data, hostname, _, size = seen.stdout.split()
    assert (by_user_data, hostname) == ("r1-u01", "r1-u01")
    assert int(size) > 1900


def test_programs_on_the_machine_read_the_lease(tenancy: Tenancy) -> None:
    url = "http://169.254.169.254/ironlease/v1"
    seen = tenancy.machine.ssh(
        "user", f"curl -sS {url}/lease; curl -sSo /dev/null -w '%{{http_code}}' {url}/lease-action"
    )
    document, action = seen.stdout.splitlines()
    assert json.loads(document)["lease"] == "lse_1"
    assert action == "404"


def test_before_the_end_everybody_is_told_and_hooks_run(tenancy: Tenancy) -> None:
    hook = "/etc/ironlease/before-end.d/10-save"
    write = f"mkdir -p {Path(hook).parent}; printf '#!/bin/sh\\nenv >/root/saved' >{hook}"
    assert tenancy.machine.ssh("user", f"{write}; chmod +x {hook}").returncode == 0
    tenancy.site.end_in(125)
    seen = tenancy.machine.ssh(
        "user",
        "until [ -s /root/saved ]; do sleep 1; done; sleep 3;cat /root/saved /run/motd.d/ironlease",
        terminal=True,
    )
    assert "IRONLEASE_LEASE=lse_1" in seen.stdout
    assert "The lease of this server ends in 2 minutes" in seen.stdout  # on the terminal
    assert "The lease of this server ends on" in seen.stdout
    tenancy.site.end_in(3600)


def test_the_end_of_the_lease_closes_the_machine_and_an_extension_opens_it(
    tenancy: Tenancy,
) -> None:
    """The provisioner shortens the lease while we are logged in, then extends it.

    It comes last, since it closes the machine.
    """
    tenancy.site.end_in(20)
    seen = tenancy.machine.ssh("user", "echo in; sleep 600")
    assert (seen.stdout, seen.returncode) == ("in\n", 255)
    while True:
        report = next_report(tenancy)
        assert report.lease is not None
        if report.lease.locked:
            break
    assert tenancy.machine.ssh("user", "true", connect_s=15).returncode == 255
    tenancy.site.end_in(3600)  # extended, though too late
    while True:
        report = next_report(tenancy)
        assert report.lease is not None
        if not report.lease.locked:
            break
    assert tenancy.machine.ssh("user", "true").returncode == 0
