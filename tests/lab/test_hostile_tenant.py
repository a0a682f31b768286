"""Tenants who are root and do not want to leave, each on a server of their own, all at once.

Whatever they did, nobody gets in 15 s after the end of the lease, and the server is taken back,
sanitised and offered again without any help from the tenant's system. Two of the servers are on no
switch that the provisioner controls: there, power is all it has.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from loop_site import DISK_SIZE, PATIENCE_S, rackctl, show

from lab.demo import Customer
from lab.rack.plan import BMC_USER
from lab.rack.switch import PROVISIONER_PORT
from lab.site import Site
from lab.testing import rack
from provisioner.rental.leases import set_end
from provisioner.store.database import Database, call_attention
from provisioner.store.tables import Lease

pytestmark = [pytest.mark.lab, pytest.mark.alone, pytest.mark.root, pytest.mark.timeout(2400)]

BMC_TAKEN, MISLED, LIAR, HUNG = SERVERS = [f"r1-u{number:02d}" for number in range(1, 5)]
WITHOUT_SWITCH = (MISLED, LIAR)
SCRIPTS = Path(__file__).with_name("tenant_scripts")
GONE_S = 15
SOON_S = 45
"""Long enough for the attacks that need to know the end, where a login takes `LOGIN_S`."""
LOGIN_S = 2
WATCHED_S = 10
"""How long logins are tried beyond what is allowed."""
OWN_PORT = "2222"
DOORS = ("22", OWN_PORT)
CUSTOMERS_ADDRESS = "10.77.0.2"
"""Where customers come from: access granted to the provisioner itself is not for them."""
SSHD_OWN = "/usr/local/sbin/telemetry"
PLANTED = ("backdoor", "open-sesame")
TAKEN = "my-bmc-now"
LONG_AGO, FAR = (end.replace(tzinfo=UTC) for end in (datetime.min, datetime.max))


@dataclass
class Tenancy:
    """One tenant's stay, as seen from outside."""

    site: Site
    customer: Customer
    lease: Any
    ends_at: datetime = FAR
    logins: list[tuple[datetime, str]] = field(default_factory=list)
    """When a successful login was started, and on which port."""
    last_tick: datetime = LONG_AGO
    """When the open session last produced output."""
    over: threading.Event = field(default_factory=threading.Event)
    """Set when nobody needs to try logging in any more."""
    left: Any = None
    """The server as it was when it was available again."""
    told: str = ""
    """The server's page while an operator was needed."""

    @property
    def server(self) -> str:
        return str(self.lease["server"])

    def root(self, command: str, given: str = "") -> str:
        """Run a command on the server, which must succeed; return its output."""
        done = subprocess.run(
            [*self.customer.ssh_command(self.lease), command],
            input=given,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def in_band(self, *words: str) -> None:
        script = (SCRIPTS / "in_band_bmc.py").read_text()
        self.root(f"python3 - {' '.join(words)}", script)

    def ssh(self, port: str, command: str) -> list[str]:
        *words, user_at_host = self.customer.ssh_command(self.lease)
        options = ["-o", f"HostKeyAlias={self.lease['address']}", "-o", "ConnectTimeout=8"]
        options += ["-o", "ServerAliveInterval=5", "-b", CUSTOMERS_ADDRESS]
        return [*words, *options, "-p", port, user_at_host, command]


# What the tenants do.


def take_bmc(tenancy: Tenancy) -> None:
    """The agent is stopped and the BMC is the tenant's: only the switch port is left."""
    tenancy.in_band("plant", "5", *PLANTED)
    tenancy.in_band("password", "2", TAKEN)
    tenancy.root("systemctl kill --signal=STOP ironlease-agent.service")


def mislead_agent(tenancy: Tenancy) -> None:
    """The agent runs and knows the end, but has no way to ask, no time and no space."""
    tenancy.root(
        "nft -f - <<'EOF' && date -s '1 year ago' >&2\n"
        "table inet mine { chain out { type filter hook output priority 0; "
        "tcp dport 8080 drop; }; }\n"
        "EOF\n"
        "for size in 512M 64M 8M 1M 64K 4K; do "
        "while fallocate -l $size /filler$((i+=1)); do :; done; done 2> /dev/null; "
        "! echo full > /one-more"
    )


def replace_agent(tenancy: Tenancy) -> None:
    tenancy.root("cat > /root/liar.py", (SCRIPTS / "lying_agent.py").read_text())
    tenancy.root(
        "systemctl disable --quiet --now ironlease-agent.service "
        "&& rm /usr/lib/ironlease/agent.pyz && { setsid python3 /root/liar.py > /dev/null 2>&1 & }"
    )


def order_the_disk(tenancy: Tenancy) -> None:
    tenancy.in_band("boot-disk")
    tenancy.in_band("plant", "5", *PLANTED)
    tenancy.root("systemctl kill --signal=KILL ironlease-agent.service")


def hang_kernel(tenancy: Tenancy) -> None:
    """Hang the kernel; a firmware entry, which overrides the BMC, would boot its disk again."""
    tenancy.site.rack.set_boot_entry(tenancy.server, exists=True)
    crash = "sleep 1; echo c > /proc/sysrq-trigger"
    tenancy.root(f"echo 0 > /proc/sys/kernel/panic; ({crash}) > /dev/null 2>&1 &")


EARLY = {BMC_TAKEN: take_bmc, LIAR: replace_agent, HUNG: order_the_disk}
LATE = {MISLED: mislead_agent, HUNG: hang_kernel}
"""Once the agent knows that the end is near."""


# What an operator does in the data centre.


def win_back(stay: Tenancy) -> None:
    """The server is out of the pool, with the reason, until somebody power cycles it by hand."""
    stay.told = await_told(stay, "by hand")
    stay.site.rack.boot(stay.server, "pxe")
    stay.site.rack.power(stay.server, "reset")


def restore_firmware(stay: Tenancy) -> None:
    stay.told = await_told(stay, "quarantined")
    stay.site.rack.set_boot_entry(stay.server, exists=False)
    rackctl(
        stay.site, "server", "repaired", stay.server, "--reason", "firmware as from the factory"
    )


def await_told(stay: Tenancy, said: str) -> str:
    """Return the server's page once the server says so."""

    def told() -> bool:
        return said in json.dumps(stay.site.server(stay.server))

    stay.site.wait_for(f"{stay.server} to say {said!r}", told, PATIENCE_S)
    return show(stay.site, stay.server)


BY_HAND = {BMC_TAKEN: win_back, HUNG: restore_firmware}


@pytest.fixture(scope="module")
def stays(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Tenancy]]:
    """Every tenancy, run to its end, by server."""
    keys = tmp_path_factory.mktemp("keys")
    with (
        rack(len(SERVERS), "ilht", disk_size=DISK_SIZE) as it,
        Site(it, full_kernel=True, claim_ttl_s="6") as site,
    ):
        it.exec(["ip", "address", "add", f"{CUSTOMERS_ADDRESS}/24", "dev", PROVISIONER_PORT])
        site.import_tenant_image()
        document = it.inventory()
        for server in document["servers"]:
            if server["name"] in WITHOUT_SWITCH:
                del server["switch_port"]
        site.post("/enrolments", {"documents": [document]})
        customers = [Customer(site, f"tenant{number}", keys) for number in range(len(SERVERS))]
        with ThreadPoolExecutor(len(SERVERS)) as threads:
            played = list(map(partial(threads.submit, play, site), SERVERS, customers))
            yield {stay.server: stay for stay in (each.result() for each in played)}


def play(site: Site, server: str, customer: Customer) -> Tenancy:
    """Start as soon as this server, or another for it, is free."""
    site.wait_for_state(server, "available", "imaging", "leased", timeout_s=PATIENCE_S)
    stay = Tenancy(site, customer, None)
    stay.lease = customer.await_ready(customer.reserve(7200))
    stay.root(f"cp /usr/sbin/sshd {SSHD_OWN} && {SSHD_OWN} -p {OWN_PORT} -o PidFile=none")
    if stay.server in EARLY:
        EARLY[stay.server](stay)
    threads = [
        threading.Thread(target=work, args=(stay,), daemon=True) for work in (try_doors, stay_in)
    ]
    for thread in threads:
        thread.start()
    site.wait_for("the tenant to be in by both doors", lambda: is_in(stay), PATIENCE_S)
    stay.ends_at = asyncio.run(bring_the_end_closer(site, stay.lease["id"], soon(stay)))
    if stay.server in LATE:
        site.wait_for("the agent to know the end", lambda: agent_knows(stay), PATIENCE_S)
        LATE[stay.server](stay)
        assert datetime.now(UTC) < stay.ends_at, "the attack took longer than the lease"
    time.sleep((stay.ends_at - datetime.now(UTC)).total_seconds() + GONE_S + WATCHED_S)
    if stay.server in BY_HAND:
        BY_HAND[stay.server](stay)
    stay.over.set()
    for thread in threads:
        thread.join()
    stay.left = site.wait_for_state(stay.server, "available", "quarantined", timeout_s=PATIENCE_S)
    return stay


def soon(stay: Tenancy) -> float:
    """Seconds until the end; an attack that needs to know it takes as long as the machine does."""
    begun = time.monotonic()
    stay.root("true")
    slowness = (time.monotonic() - begun) / LOGIN_S
    return SOON_S * min(max(1.0, slowness), 5.0) if stay.server in LATE else SOON_S


async def bring_the_end_closer(site: Site, lease_id: str, soon_s: float) -> datetime:
    """Let time pass: the end of the lease, hours away, comes within seconds."""
    now = datetime.now(UTC)
    ends_at = now + timedelta(seconds=soon_s)
    database = Database(f"sqlite:///{site.folder / 'data/ironlease.db'}")
    async with database.write() as session:
        lease = await session.get_one(Lease, lease_id)
        set_end(lease, ends_at, now)
        await call_attention(session, lease.server_id)
    await database.close()
    return ends_at


def agent_knows(stay: Tenancy) -> bool:
    return '"sequence":2' in stay.root("cat /var/lib/ironlease/lease.json")


def is_in(stay: Tenancy) -> bool:
    """Without this, nobody getting in later would prove nothing."""
    return {port for _, port in stay.logins} == set(DOORS) and stay.last_tick > LONG_AGO


def try_doors(stay: Tenancy) -> None:
    """Log in repeatedly, on one port after the other, whatever the server does."""
    for port in itertools.cycle(DOORS):
        begun = datetime.now(UTC)
        command = ["timeout", "15", *stay.ssh(port, "true")]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            stay.logins.append((begun, port))
        if stay.over.wait(1):
            return


def stay_in(stay: Tenancy) -> None:
    """Keep a session of the tenant's own sshd open, which the agent does not know."""
    ticking = stay.ssh(OWN_PORT, "while echo tick; do sleep 0.5; done")
    while not stay.over.wait(1):
        with subprocess.Popen(
            ticking, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as session:
            assert session.stdout is not None
            for _ in session.stdout:
                stay.last_tick = datetime.now(UTC)
                if stay.over.is_set():
                    session.terminate()


def logs_in_to_bmc(stay: Tenancy, user: str, password: str) -> bool:
    address = stay.site.rack.plan.server(stay.server).bmc_address
    lan = ["ipmitool", "-I", "lanplus", "-C", "3", "-R", "1", "-N", "2", "-H", address]
    login = [*lan, "-U", user, "-P", password, "power", "status"]
    return stay.site.rack.exec(login, check=False).returncode == 0


@pytest.mark.parametrize("server", SERVERS)
def test_nobody_gets_in_once_the_lease_is_over(stays: dict[str, Tenancy], server: str) -> None:
    stay = stays[server]
    gone_at = stay.ends_at + timedelta(seconds=GONE_S)
    late = [f"{port} at {begun - stay.ends_at}" for begun, port in stay.logins if begun > gone_at]
    assert late == []
    assert stay.last_tick < gone_at


def test_a_hung_kernel_said_so(stays: dict[str, Tenancy]) -> None:
    assert "Kernel panic" in stays[HUNG].site.rack.console_text(HUNG)


@pytest.mark.parametrize("server", SERVERS)
def test_the_server_is_taken_back_wiped_and_offered_again(
    stays: dict[str, Tenancy], server: str
) -> None:
    left = stays[server].left
    assert left["state"] == "available", left["reason"]
    assert left["lease"] is None
    assert all(disk["sanitised"] for disk in left["disks"])


def test_a_bmc_whose_password_was_changed_is_told_with_the_way_out(
    stays: dict[str, Tenancy],
) -> None:
    for said in ("reclaiming", "refuses the login", "incident", "set-bmc"):
        assert said in stays[BMC_TAKEN].told, stays[BMC_TAKEN].told


def test_a_server_that_starts_its_disk_is_kept_off_and_told(stays: dict[str, Tenancy]) -> None:
    assert "did not boot from the network (3 boots tried)" in stays[HUNG].told, stays[HUNG].told


@pytest.mark.parametrize("server", [HUNG, BMC_TAKEN])
def test_a_planted_bmc_user_no_longer_logs_in(stays: dict[str, Tenancy], server: str) -> None:
    assert not logs_in_to_bmc(stays[server], *PLANTED)


@pytest.mark.parametrize("password", [TAKEN, "secret"])
def test_no_password_that_anybody_knew_opens_a_bmc_that_was_won_back(
    stays: dict[str, Tenancy], password: str
) -> None:
    assert not logs_in_to_bmc(stays[BMC_TAKEN], BMC_USER, password)


def test_no_incident_is_left(stays: dict[str, Tenancy]) -> None:
    for server, stay in stays.items():
        assert "incident" not in show(stay.site, server)
