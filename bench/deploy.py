"""`deploy`: from a reservation to SSH on a server that waits in its ramdisk, and from release to
available, on the virtual rack; against the floor of writing the mapped blocks and booting.
"""

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
from lab.site import MACHINE_URL, Site

RACK = "ilbench"
ROUNDS = 3
_LIMIT_S = 300


def run() -> Report:
    """Three rounds on one server; the floor is measured on the same rack, right after."""
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
        figures = {name: middle(values) for name, values in phases.items()}
        floor = _floor(site, server)
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
    begun = time.monotonic()
    site.post(f"/reservations/{reservation}/release")
    site.wait_for_state(server, "available", timeout_s=_LIMIT_S)
    phases["release_to_available_seconds"].append(time.monotonic() - begun)
    for step in _last_steps(site, server):
        name = f"{step['verb']}_{step['step']}_seconds"
        phases[name].append(step["seconds"])


def _last_steps(site: Site, server: str) -> Iterator[dict[str, Any]]:
    """Steps of the newest operation of each verb that took any time."""
    seen = set()
    for operation in site.get("/operations", server=server, limit=10)["items"]:
        if operation["verb"] in seen:
            continue
        seen.add(operation["verb"])
        for step in site.get(f"/operations/{operation['id']}")["steps"]:
            if step["seconds"] and step["outcome"] == "done":
                yield {**step, "verb": operation["verb"]}


def _floor(site: Site, server: str) -> dict[str, float]:
    """By hand, in the ramdisk that waits: fetch, unpack and write the image's mapped blocks; then
    kexec, until the port of SSH answers. Nothing is checked and nothing is made the customer's."""
    image = site.get("/images")["items"][0]
    with _shell(site, server) as shell:
        begun = time.monotonic()
        shell(_write_script(image["digest"]))
        write = time.monotonic() - begun
        shell(
            "mkdir -p /mnt; blockdev --rereadpt /dev/nvme0n1; sleep 0.5;"
            "mount /dev/nvme0n1p2 /mnt && ssh-keygen -A -f /mnt >/dev/null;"
            'kexec -s -l /mnt/boot/vmlinuz --command-line="$(cat /mnt/boot/cmdline)";'
            "umount /mnt; nohup sh -c 'sleep 0.2; kexec -e' >/dev/null 2>&1 </dev/null &"
        )
        address = site.rack.servers[0].address
        begun = time.monotonic()
        time.sleep(1)
        site.wait_for("SSH", lambda: _answers(site, address), _LIMIT_S)
        boot = time.monotonic() - begun
    return {
        "write_seconds": round(write, 2),
        "boot_seconds": round(boot, 2),
        "write_and_boot_seconds": round(write + boot, 2),
    }


def _write_script(digest: str) -> str:
    """Chunks are zstd frames; their ranges are in the manifest, in order of the disk."""
    return f"""python3 - <<'END'
import json, os, subprocess, urllib.request
base = "{MACHINE_URL}/images/{digest}"
manifest = json.load(urllib.request.urlopen(base + "/manifest.json"))
urls = "".join(f'url = "{{base}}/chunks/{{n}}"\\n' for n in range(len(manifest["chunks"])))
curl = subprocess.Popen(["curl", "-sK", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
zstd = subprocess.Popen(["zstd", "-dcq"], stdin=curl.stdout, stdout=subprocess.PIPE)
curl.stdin.write(urls.encode()); curl.stdin.close()
disk = os.open("/dev/nvme0n1", os.O_WRONLY)
for chunk in manifest["chunks"]:
    for offset, length in chunk["ranges"]:
        while length:
            data = zstd.stdout.read(min(length, 4 << 20))
            os.pwrite(disk, data, offset)
            offset, length = offset + len(data), length - len(data)
os.fsync(disk)
END"""


def _answers(site: Site, address: str) -> bool:
    asked = subprocess.run(
        site.rack.command(["ssh-keyscan", "-T", "2", "-t", "ed25519", address]),
        capture_output=True,
        text=True,
        check=False,
    )
    return "ssh-ed25519" in asked.stdout


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
