"""What a step works with, and the outcomes that it may return."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import IPv4Address
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.failures import Failure, FailureKind
from provisioner.domain.lifecycle import Step, Verb
from provisioner.domain.storable import Unstorable, check
from provisioner.drivers.bmc import Bmc, BmcTarget
from provisioner.drivers.netboot import Netboot
from provisioner.drivers.network import Switch
from provisioner.drivers.plays import PlayEvent, Plays
from provisioner.drivers.ssh import Ssh, SshTarget
from provisioner.fleet.servers import bmc_target
from provisioner.lifecycle.snapshot import Snapshot
from provisioner.store.secrets import SecretBox
from provisioner.store.tables import Boot, Image, Lease, Operation, Reservation, Server

Change = Callable[[AsyncSession, Server, Operation], Awaitable[None]]
"""Writes a step's result in the transaction that records the step and holds the claim."""


@dataclass(frozen=True, slots=True)
class Done:
    detail: str = ""
    change: Change | None = None


@dataclass(frozen=True, slots=True)
class GoTo:
    """Continue at another step of the same operation, ahead (skip) or back (retry)."""

    step: Step
    detail: str
    change: Change | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until a fact arrives or the time is up."""

    seconds: float
    detail: str


Outcome = Done | GoTo | Wait


@dataclass(frozen=True, slots=True)
class Drivers:
    bmc: Bmc
    plays: Plays
    ssh: Ssh
    netboot: Netboot
    switch: Switch | None = None
    """None if the provisioner controls no switch."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Times that depend on the hardware: real servers take minutes to POST."""

    boot_window: timedelta = timedelta(minutes=15)
    boot: timedelta = timedelta(minutes=15)
    """From power-on to a ready ramdisk."""
    shutdown: timedelta = timedelta(minutes=3)
    """From the power button to off; then the power is cut."""
    tenant_boot: timedelta = timedelta(minutes=10)
    """From kexec to an SSH server with the issued host key."""
    verdict: timedelta = timedelta(minutes=3)
    """From the hardware check to a verdict on the ramdisk's report."""
    play: timedelta = timedelta(minutes=30)
    sanitise: timedelta = timedelta(hours=6)
    look_s: float = 0.25
    """Pause between checks of something that is about to change."""


@dataclass(frozen=True, slots=True)
class MachineNetwork:
    """The network in which servers and tenants' systems have their addresses."""

    prefix: int
    gateway: IPv4Address | None = None
    dns_servers: tuple[IPv4Address, ...] = ()


@dataclass(frozen=True, slots=True)
class Context:
    """What is the same for every server."""

    drivers: Drivers
    box: SecretBox
    clock: Callable[[], datetime]
    machine_url: str
    """Base URL of the service as the machines see it."""
    authorized_key: str
    """The provisioner's own public key, for the ramdisks."""
    kept_bmc_users: frozenset[str] = frozenset()
    """BMC users, besides the provisioner's own, that stay enabled after a lease."""
    rotate_bmc_passwords: bool = True
    """Whether our BMC user gets a new password after each lease."""
    network: MachineNetwork = field(default_factory=lambda: MachineNetwork(prefix=24))
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class System:
    """What is installed on the disk, and who may log in to it."""

    image: Image
    instance_id: str
    """New for each installation, so that cloud-init treats it as a new instance."""
    hostname: str
    authorized_keys: list[str]
    user_data: str
    host_key: str
    """SSH host key, public line; empty until it is issued."""
    host_key_secret: str
    lease: Lease | None
    """None for an operator's system."""


@dataclass(frozen=True, slots=True)
class Job:
    """One run of one step."""

    context: Context
    snapshot: Snapshot
    operation: Operation
    log: Callable[[str], None]
    commit: Callable[[Change], Awaitable[None]]
    """Writes something before it is acted on. Raises ClaimLost."""

    @property
    def server(self) -> Server:
        return self.snapshot.server

    @property
    def drivers(self) -> Drivers:
        return self.context.drivers

    @property
    def verb(self) -> Verb:
        return self.operation.verb

    def now(self) -> datetime:
        return self.context.clock()

    def step_age(self) -> timedelta:
        return self.now() - self.operation.step_started_at

    def tenancy(self) -> tuple[Lease, Reservation, Image]:
        """Return the lease that this operation prepares; imaging for customers always has one."""
        lease, reservation, image = (
            self.snapshot.lease,
            self.snapshot.reservation,
            self.snapshot.image,
        )
        if lease is None or reservation is None or image is None:
            raise LookupError(f"server {self.server.name} has no open lease to prepare")
        return lease, reservation, image

    def system(self) -> System:
        """Return the system that this operation installs on the server."""
        if self.verb is Verb.INSTALL:
            return self._operators_system()
        lease, reservation, image = self.tenancy()
        return System(
            image=image,
            instance_id=lease.id if self.verb is Verb.IMAGE else self.operation.id,
            hostname=reservation.hostname,
            authorized_keys=reservation.authorized_keys,
            user_data=reservation.user_data,
            host_key=lease.host_key,
            host_key_secret=lease.host_key_secret,
            lease=lease,
        )

    def _operators_system(self) -> System:
        request, image = self.snapshot.request, self.snapshot.image
        if request is None or image is None:
            raise LookupError(f"server {self.server.name}: nothing is to be installed")
        return System(
            image=image,
            instance_id=self.operation.id,
            hostname=self.server.name,
            authorized_keys=request.arguments["authorized_keys"],
            user_data="",
            host_key=self.operation.memo.get("host_key", ""),
            host_key_secret=self.operation.memo.get("host_key_secret", ""),
            lease=None,
        )

    def open_boot(self) -> Boot:
        """Return the boot of the ramdisk that runs on the server."""
        if self.snapshot.boot is None:
            raise LookupError(f"server {self.server.name} has no open boot")
        return self.snapshot.boot

    def bmc_target(self) -> BmcTarget:
        return bmc_target(self.server, self.context.box)

    def ramdisk(self) -> SshTarget:
        return SshTarget(self.server.address, self.open_boot().host_key)

    def tenant(self) -> SshTarget:
        system = self.system()
        return SshTarget(
            self.server.address, system.host_key, user=str(system.image.boot.get("user", "root"))
        )

    async def play(
        self, playbook: str, variables: dict[str, Any], limit: timedelta
    ) -> dict[str, Any]:
        """Run a playbook in the ramdisk; its events go to the step's log. What it returns can be
        stored."""

        def on_event(event: PlayEvent) -> None:
            self.log(event.text)

        answer = await self.drivers.plays.run(
            playbook, self.ramdisk(), variables, on_event, timeout_s=limit.total_seconds()
        )
        try:
            check(answer)
        except Unstorable as error:
            raise Failure(
                f"{playbook}.yml answered with what cannot be recorded: {error}",
                next_action="look at that part of the server: its firmware says what is no text or "
                "no number",
                kind=FailureKind.SERVER_FAULT,
            ) from error
        return answer
