"""The main loop on a virtual rack, with a live timeline.

Two customers rent the same real machine, one after the other; the second looks for what the first
left behind.
"""

import json
import re
import shlex
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from rich.console import Console

from lab import images
from lab.rack import Rack
from lab.rack.errors import RackIsUp
from lab.site import Site, SiteError

CLASS = "lab-2nvme"
IMAGE = "debian-12"
LEASE_S = 75
"""The first customer's lease: imaging, a look around, and the rest until it expires."""
_POOL_S, _DEPLOY_S, _RECLAIM_S = 600, 300, 300
_LOOK_S = 0.2


@dataclass
class Timeline:
    """Prints events as they happen, and records the phases with their seconds."""

    console: Console
    started: float = field(default_factory=time.monotonic)
    phases: list[dict[str, Any]] = field(default_factory=list)

    def say(self, text: str, *, style: str = "") -> None:
        elapsed = time.monotonic() - self.started
        self.console.print(f"[dim]{elapsed:7.1f} s[/]  {text}", style=style, highlight=False)

    def phase(self, server: str, name: str, seconds: float) -> None:
        self.phases.append({"server": server, "phase": name, "seconds": round(seconds, 2)})
        self.say(f"[bold]{server}[/]  {name:<18} {seconds:6.1f} s")

    def timed(self, server: str, name: str, do: Callable[[], Any]) -> float:
        """Run `do` as a phase of its own; return its seconds."""
        begun = time.monotonic()
        do()
        seconds = time.monotonic() - begun
        self.phase(server, name, seconds)
        return seconds


class Watcher(threading.Thread):
    """Follows the operations of all servers through the API and prints each finished step."""

    def __init__(self, site: Site, timeline: Timeline) -> None:
        super().__init__(daemon=True)
        self._site, self._timeline = site, timeline
        self._seen: set[str] = set()
        self._stopping = threading.Event()

    def run(self) -> None:
        while not self._stopping.wait(_LOOK_S):
            self.look()

    def look(self) -> None:
        for operation in self._site.get("/operations", limit=50)["items"]:
            detail = self._site.get(f"/operations/{operation['id']}")
            for step in detail["steps"]:
                key = f"{operation['id']}/{step['step']}/{step['started_at']}"
                if step["ended_at"] and step["outcome"] != "skipped" and key not in self._seen:
                    self._seen.add(key)
                    name = f"{operation['verb']}: {step['step']}"
                    self._timeline.phase(detail["server"], name, step["seconds"])

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self.join()


class Customer:
    """A customer: an account, a key, and an ssh command."""

    def __init__(self, site: Site, name: str, folder: Path) -> None:
        self.site, self.name = site, name
        self.key = folder / f"{name}_ed25519"
        self.known_hosts = folder / f"{name}_known_hosts"
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(self.key)],
            check=True,
        )
        self.email = f"{name}@example.org"
        site.post("/accounts", {"name": name, "email": self.email, "role": "customer"})

    def reserve(self, duration_s: int, image: str = IMAGE) -> str:
        reservation = self.site.post(
            "/reservations",
            {
                "class": CLASS,
                "image": image,
                "duration_s": duration_s,
                "ssh_keys": [self.key.with_suffix(".pub").read_text().strip()],
                "hostname": f"{self.name}-1",
                "account": self.email,
            },
            headers={"Idempotency-Key": str(uuid.uuid4())},
        )
        return str(reservation["id"])

    def await_ready(self, reservation: str) -> Any:
        """Wait for the handover; return the lease with its connection details."""

        def ready() -> Any:
            lease = self.site.get(f"/reservations/{reservation}")["lease"]
            return lease if lease and lease["ready_at"] else None

        lease = self.site.wait_for(f"{self.name}'s server", ready, _DEPLOY_S)
        self.known_hosts.write_text(lease["known_hosts"].strip() + "\n")
        return lease

    def ssh_command(self, lease: Any) -> list[str]:
        options = [
            *("-i", str(self.key), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"),
            *("-o", f"UserKnownHostsFile={self.known_hosts}", "-o", "StrictHostKeyChecking=yes"),
            *("-o", "ConnectTimeout=30"),
        ]
        return self.site.rack.command(["ssh", *options, f"{lease['user']}@{lease['address']}"])

    def run(
        self, lease: Any, command: str, *, timeout_s: float = 120
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*self.ssh_command(lease), command],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def await_refusal(self, lease: Any) -> float:
        """Log in repeatedly; return when the first failing login was started."""
        for _ in range(100):
            begun = time.monotonic()
            command = ["timeout", "10", *self.ssh_command(lease), "true"]
            if subprocess.run(command, capture_output=True, check=False).returncode != 0:
                return begun
        raise SiteError(f"{self.name} can still log in after the lease has ended")

    def must_run(self, lease: Any, command: str) -> str:
        result = self.run(lease, command)
        if result.returncode != 0:
            raise SiteError(f"{self.name}: ssh {command!r}: {result.stderr.strip()}")
        return result.stdout


def write_secret(secret: str) -> str:
    """Return a shell command that leaves a secret on both disks, as a file and as raw blocks."""
    return f"""set -e
echo {secret} > /root/secret
root=$(lsblk -nro PKNAME "$(findmnt -nro SOURCE /)")
for disk in /sys/block/nvme*n1; do
    name=$(basename "$disk")
    [ "$name" = "$root" ] && continue
    yes {secret} | dd of="/dev/$name" bs=1M count=64 iflag=fullblock oflag=direct 2>/dev/null
done
sync
"""


_FIND = """
import mmap, os, sys
needle, found = sys.argv[1].encode(), 0
for name in sys.argv[2:]:
    disk, block = os.open("/dev/" + name, os.O_RDONLY | os.O_DIRECT), mmap.mmap(-1, 4 << 20)
    tail = b""
    while (got := os.readv(disk, [block])) > 0:
        data = tail + block[:got]
        found += data.count(needle)
        tail = data[-len(needle) + 1:]
print(found)
"""


def find_secret(secret: str) -> str:
    """Return a shell command that reads both disks raw, in full, and counts the secret."""
    names = "$(cd /sys/block && echo nvme*n1)"
    return f"python3 -c {shlex.quote(_FIND)} {secret} {names}"


def run(once: bool, json_path: Path | None, servers: int, name: str) -> int:
    """Run the loop and return the exit status; without `once` the rack stays up."""
    console = Console(width=None if Console().is_terminal else 120)
    console.rule("Ironlease: the main loop on a virtual rack")
    timeline = Timeline(console)
    timeline.timed("lab", "images", lambda: (images.ramdisk(), images.tenant()))
    try:
        rack = Rack.up(name, servers=servers, disk_size="2G")
    except RackIsUp:
        timeline.say(f"taking down the rack {name} that is up")
        Rack.down(name)
        rack = Rack.up(name, servers=servers, disk_size="2G")
    try:
        with Site(rack, port=0 if once else 8080) as site, tempfile.TemporaryDirectory() as keys:
            result = play(site, timeline, Path(keys))
            if json_path is not None:
                json_path.write_text(json.dumps(result, indent=2) + "\n")
            summary(console, result)
            if not once:
                stay(console, site)
    except SiteError as error:
        console.print(f"[bold red]failed:[/] {error}", highlight=False)
        return 1
    finally:
        if once:
            Rack.down(name)
    return 1 if result["secret_found"] else 0


def play(site: Site, timeline: Timeline, keys: Path) -> dict[str, Any]:
    """Run the loop itself; return its phases and measured times."""
    timeline.timed("lab", "import image", site.import_tenant_image)
    site.enrol()
    with Watcher(site, timeline):
        return play_customers(site, timeline, keys)


def play_customers(site: Site, timeline: Timeline, keys: Path) -> dict[str, Any]:
    names = [server.name for server in site.rack.servers]
    for server in names:
        site.wait_for_state(server, "available", timeout_s=_POOL_S)
    timeline.say("every server is wiped, validated and waits in its ramdisk", style="green")

    secret = f"secret-{uuid.uuid4().hex}"
    first = Customer(site, "ada", keys)
    asked = time.monotonic()
    reservation = first.reserve(LEASE_S)
    lease = first.await_ready(reservation)
    output = first.must_run(lease, "hostname; lsblk")
    to_ssh = time.monotonic() - asked
    server = lease["server"]
    timeline.phase(server, "reservation → SSH", to_ssh)
    timeline.say(f"ada$ ssh {lease['address']} 'hostname; lsblk'\n{output.rstrip()}")
    first.must_run(lease, write_secret(secret))
    timeline.say("ada writes a secret to both disks, and lets the lease expire")

    expired = time.monotonic() + _seconds_until(lease["ends_at"])
    time.sleep(max(0.0, expired - time.monotonic()))
    to_refused = first.await_refusal(lease) - expired
    timeline.phase(server, "expiry → refused", to_refused)
    site.wait_for_state(server, "available", timeout_s=_RECLAIM_S)
    to_available = time.monotonic() - expired
    timeline.phase(server, "expiry → available", to_available)

    second = Customer(site, "grace", keys)
    found = look_for(site, second, server, secret, timeline)
    return {
        "phases": timeline.phases,
        "reservation_to_ssh_seconds": round(to_ssh, 2),
        "expiry_to_refused_seconds": round(to_refused, 2),
        "expiry_to_available_seconds": round(to_available, 2),
        "secret_found": found,
    }


def look_for(site: Site, customer: Customer, server: str, secret: str, timeline: Timeline) -> bool:
    """Rent until the customer has `server`, and read its disks raw."""
    others = [
        row["name"]
        for row in site.get("/servers")["items"]
        if row["name"] != server and row["state"] == "available"
    ]
    for other in others:
        site.post(f"/servers/{other}/requests", {"verb": "maintain", "reason": "demonstration"})
        site.wait_for_state(other, "maintenance", timeout_s=60)
    reservation = customer.reserve(3600)
    lease = customer.await_ready(reservation)
    timeline.say(f"grace has {lease['server']}, and reads both disks raw for ada's secret")
    count = customer.must_run(lease, find_secret(secret)).strip()
    if not re.fullmatch(r"[0-9]+", count):
        raise SiteError(f"the raw read of the disks failed: {count!r}")
    for other in others:
        site.post(f"/servers/{other}/requests", {"verb": "resume", "reason": "demonstration"})
    site.post(f"/reservations/{reservation}/release")
    site.wait_for_state(server, "available", timeout_s=_RECLAIM_S)
    return int(count) > 0


def _seconds_until(instant: str) -> float:
    return (datetime.fromisoformat(instant) - datetime.now(UTC)).total_seconds()


def summary(console: Console, result: dict[str, Any]) -> None:
    console.rule()
    found = result["secret_found"]
    console.print(
        f"reservation → SSH     {result['reservation_to_ssh_seconds']:6.1f} s\n"
        f"expiry → refused      {result['expiry_to_refused_seconds']:6.1f} s\n"
        f"expiry → available    {result['expiry_to_available_seconds']:6.1f} s\n"
        f"secret found by the next customer: "
        + ("[bold red]YES[/]" if found else "[bold green]no trace[/]"),
        highlight=False,
    )


def stay(console: Console, site: Site) -> None:
    """Keep the rack up until Ctrl-C, and print what to try."""
    console.print(
        f"""
The rack stays up until Ctrl-C. Try:

  web and API   {site.url}
  rackctl       export IRONLEASE_URL={site.url} IRONLEASE_TOKEN={site.token}
                .venv/bin/rackctl server list
                .venv/bin/rackctl reserve --class {CLASS} --image {IMAGE} --for 1h \\
                    --key ~/.ssh/id_ed25519.pub --wait
  ssh           ip netns exec {site.rack.namespace} ssh root@10.77.0.11
""",
        highlight=False,
        soft_wrap=True,
    )
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        console.print("taking the rack down")
        Rack.down(site.rack.name)
