"""`deploy`: the time from reservation to SSH and from release to available, on the virtual rack.

The server starts out waiting in its ramdisk. The baseline is a raw write of the image's mapped
bytes, plus the time from the tenant kernel's start to its SSH server.
"""

import json
import math
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.report import Report, middle
from lab.demo import Customer
from lab.rack import Rack
from lab.site import Site

RACK = "ilbench"
ROUNDS = 3
_LIMIT_S = 300
_BLOCK = 4 << 20
_KERNEL_TO_SSHD = "kernel_to_sshd_seconds"
_SSHD_STARTED = "systemctl show --property ActiveEnterTimestampMonotonic --value ssh.service"
"""Microseconds from the kernel's start until the tenant system's SSH server listened."""


def run() -> Report:
    """Run three rounds on one server; the baseline is measured within and right after them."""
    Rack.down(RACK)
    with Rack.up(RACK, servers=1, disk_size="2G") as rack, Site(rack) as site:
        site.import_tenant_image()
        site.enrol()
        server = rack.servers[0].name
        site.wait_for_state(server, "available", timeout_s=_LIMIT_S)
        phases: dict[str, list[float]] = defaultdict(list)
        with tempfile.TemporaryDirectory() as folder:
            customer = Customer(site, "bench", Path(folder))
            for _ in range(ROUNDS):
                _round(site, customer, server, phases)
        write = round(_raw_write_seconds(site, server), 2)
    figures = {name: middle(values) for name, values in phases.items()}
    boot = figures.pop(_KERNEL_TO_SSHD)
    floor = {
        "raw_write_seconds": write,
        _KERNEL_TO_SSHD: boot,
        "write_and_boot_seconds": round(write + boot, 2),
    }
    return Report(
        name="deploy",
        figures=figures,
        peers={"floor": floor},
        ratios={
            "reservation_to_ssh_over_floor": round(
                figures["reservation_to_ssh_seconds"] / floor["write_and_boot_seconds"], 2
            )
        },
    )


def _round(site: Site, customer: Customer, server: str, phases: dict[str, list[float]]) -> None:
    begun = time.monotonic()
    reservation = customer.reserve(3600)
    lease = customer.await_ready(reservation)
    phases["reservation_to_ready_seconds"].append(time.monotonic() - begun)
    customer.must_run(lease, "hostname")
    phases["reservation_to_ssh_seconds"].append(time.monotonic() - begun)
    started = customer.must_run(lease, _SSHD_STARTED)
    phases[_KERNEL_TO_SSHD].append(int(started) / 1e6)
    begun = time.monotonic()
    site.post(f"/reservations/{reservation}/release")
    site.wait_for_state(server, "available", timeout_s=_LIMIT_S)
    phases["release_to_available_seconds"].append(time.monotonic() - begun)
    for step in _last_steps(site, server):
        name = f"{step['verb']}_{step['step']}_seconds"
        phases[name].append(step["seconds"])


def _last_steps(site: Site, server: str) -> Iterator[dict[str, Any]]:
    """Yield the steps that took time, from the newest operation of each verb."""
    seen = set()
    for operation in site.get("/operations", server=server, limit=10)["items"]:
        if operation["verb"] in seen:
            continue
        seen.add(operation["verb"])
        for step in site.get(f"/operations/{operation['id']}")["steps"]:
            if step["seconds"] and step["outcome"] == "done":
                yield {**step, "verb": operation["verb"]}


def _raw_write_seconds(site: Site, server: str) -> float:
    """Write as many bytes as the image maps from memory to the waiting server's disk.

    Nothing is fetched, unpacked or checked.
    """
    digest = site.get("/images")["items"][0]["digest"]
    manifest = json.loads((site.folder / "data/images" / digest / "manifest.json").read_text())
    mapped = sum(length for chunk in manifest["chunks"] for _, length in chunk["ranges"])
    blocks = math.ceil(mapped / _BLOCK)
    with _shell(site, server) as shell:
        shell("true")  # do not time the login twice
        begun = time.monotonic()
        shell("true")
        login = time.monotonic() - begun
        begun = time.monotonic()
        shell(
            f"dd if=/dev/zero of=/dev/nvme0n1 bs={_BLOCK} count={blocks} oflag=direct 2>/dev/null"
        )
        return time.monotonic() - begun - login


@contextmanager
def _shell(site: Site, server: str) -> Iterator[Any]:
    """Run commands in the waiting ramdisk, with the provisioner's own key."""
    address = site.server(server)["address"]
    key = site.folder / "data" / "ssh" / "id_ed25519"
    ssh = site.rack.command(
        [
            *("ssh", "-i", str(key), "-o", "StrictHostKeyChecking=no"),
            *("-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", f"root@{address}"),
        ]
    )

    def run_there(command: str) -> None:
        subprocess.run([*ssh, command], check=True, timeout=_LIMIT_S)

    yield run_there
