"""Imaging: write the image, personalise it, start it, and hand the server over."""

import asyncio
import time
from datetime import datetime
from typing import Any

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from agent.protocol import TENANT, AgentConfig
from provisioner.domain.failures import Failure, FailureKind
from provisioner.domain.image_pass import ImagePass
from provisioner.domain.lifecycle import State, Step
from provisioner.domain.webhooks import WebhookEvent
from provisioner.drivers.bmc import BootDevice, Power, PowerAction
from provisioner.drivers.plays import PlayFailed
from provisioner.drivers.ssh import HostKeyMismatch, SshLoginRefused, SshUnreachable
from provisioner.drivers.ssh.keys import new_host_key
from provisioner.lifecycle.job import Change, Done, GoTo, Job, Outcome, Wait
from provisioner.lifecycle.steps.ramdisk import close_boots
from provisioner.notifications.outbox import enqueue
from provisioner.rental.grants import grant_of, public_key
from provisioner.store.secrets import new_token, token_hash
from provisioner.store.tables import AgentIdentity, Lease, Operation, Server

KEXEC = "sync; nohup sh -c 'sleep 0.2; exec kexec -e' >/dev/null 2>&1 </dev/null &"
"""Gives the SSH session time to end before the kernel is replaced."""

_LOOKS = 20
"""Checks before the claim is released for a moment."""


async def write_image(job: Job) -> Outcome:
    """Write the image; if that fails, power cycle the server once and try again.

    Only a power cycle revives a disk controller that hangs.
    """
    image = job.system().image
    variables = {
        "image_url": f"{job.context.machine_url}/images/{image.digest}",
        "image_digest": image.digest,
        "image_pass": job.context.box.seal(ImagePass(job.operation.id, image.digest).to_json()),
        "disk_serial": boot_disk(job),
    }
    try:
        answer = await job.play("image", variables, job.context.limits.play)
    except PlayFailed as failure:
        if failure.kind is not FailureKind.SERVER_FAULT or job.operation.boots > 0:
            raise
        job.log(failure.reason)
        return GoTo(Step.POWER_OFF, f"{failure.reason}: power cycle and retry", close_boots(job))
    imaging = answer["imaging"]
    return Done(f"{imaging['bytes_written']} bytes in {imaging['seconds']:.1f} s")


def boot_disk(job: Job) -> str:
    """Return the system disk's serial: the inventory's boot disk, or else the first by serial."""
    named = job.server.expect.get("boot_disk")
    return str(named) if named else job.snapshot.disks[0].serial


async def personalise(job: Job) -> Outcome:
    """Write keys, host name, user data and the agent's identity; load the kernel for kexec."""
    system = job.system()
    if not system.host_key:
        lease = system.lease
        await job.commit(_issue_identity(job, lease) if lease else _issue_host_key(job))
        system = job.system()
    await job.play(
        "personalise",
        {
            "disk_serial": boot_disk(job),
            "boot": system.image.boot,
            "instance_id": system.instance_id,
            "hostname": system.hostname,
            "authorized_keys": system.authorized_keys,
            "user_data": system.user_data,
            "ssh_host_key": job.context.box.open(system.host_key_secret),
            "ssh_host_public_key": system.host_key,
            "agent": agent_config(job, system.lease) if system.lease else None,
            "network": network_file(job),
        },
        job.context.limits.play,
    )
    if system.lease is None:
        return Done(f"personalised for the operator; the host key is {system.host_key}")
    return Done("personalised for the customer")


def _issue_host_key(job: Job) -> Change:
    private, public = new_host_key(job.server.name)
    issued = {"host_key": public, "host_key_secret": job.context.box.seal(private)}
    # The snapshot's row is this process's copy, with which the step continues.
    job.operation.memo = {**job.operation.memo, **issued}

    async def change(session: AsyncSession, server: Server, operation: Operation) -> None:
        operation.memo = {**operation.memo, **issued}

    return change


def _issue_identity(job: Job, lease: Lease) -> Change:
    private, public = new_host_key(job.server.name)
    token = new_token("ilagent")
    box = job.context.box
    # The snapshot's rows are this process's copies, with which the step continues.
    lease.host_key = public
    lease.host_key_secret = box.seal(private)
    lease.agent_token_secret = box.seal(token)

    async def change(session: AsyncSession, server: Server, operation: Operation) -> None:
        row = await session.get_one(Lease, lease.id)
        row.host_key = lease.host_key
        row.host_key_secret = lease.host_key_secret
        row.agent_token_secret = lease.agent_token_secret
        session.add(
            AgentIdentity(
                server_id=server.id,
                lease_id=lease.id,
                token_hash=token_hash(token),
                issued_at=job.now(),
            )
        )

    return change


def agent_config(job: Job, lease: Lease) -> dict[str, Any]:
    box = job.context.box
    return AgentConfig(
        url=job.context.machine_url,
        server=job.server.id,
        token=box.open(lease.agent_token_secret),
        context=TENANT,
        interval_s=10,
        grant=grant_of(lease, job.server.serial, box, now=job.now()),
        grant_key=public_key(box),
        serial=job.server.serial,
    ).to_dict()


def network_file(job: Job) -> str:
    """Return the tenant system's systemd-networkd file; a fixed address saves waiting for DHCP."""
    network = job.context.network
    lines = [
        "[Match]",
        f"MACAddress={job.server.boot_mac}",
        "[Network]",
        f"Address={job.server.address}/{network.prefix}",
        *([f"Gateway={network.gateway}"] if network.gateway else []),
        *(f"DNS={server}" for server in network.dns_servers),
    ]
    return "\n".join(lines) + "\n"


async def boot_tenant(job: Job) -> Outcome:
    """Replace the ramdisk's kernel with the tenant's, without a firmware reset."""
    if job.snapshot.boot is None:
        return Done("the tenant system has already been started")
    try:
        result = await job.drivers.ssh.run(job.ramdisk(), KEXEC)
    except (SshUnreachable, HostKeyMismatch, SshLoginRefused) as gone:
        # Kexec may have run before a crash of ours; the next step checks what is running.
        return Done(f"the ramdisk no longer answers ({gone.reason})", close_boots(job))
    if result.status != 0:
        raise Failure(
            f"kexec was refused: {result.stderr.strip() or result.status}",
            next_action="check the step's log; the image's kernel may not be loadable",
            kind=FailureKind.SERVER_FAULT,
        )
    return Done("kexec", close_boots(job))


async def await_tenant(job: Job) -> Outcome:
    """Wait for an SSH server with the issued host key; if it is late, reset the server once."""
    if await _tenant_comes_up(job):
        return Done("SSH answers with the issued host key and accepts the customer's key")
    limits = job.context.limits
    reset_at = job.operation.memo.get("firmware_reset_at")
    if reset_at is None:
        if job.step_age() < limits.tenant_boot:
            return Wait(0.5, "the tenant system is starting")
        return await _boot_by_firmware(job)
    if job.now() - datetime.fromisoformat(reset_at) < limits.boot + limits.tenant_boot:
        return Wait(0.5, "the tenant system is starting through firmware")
    raise Failure(
        "the tenant system does not answer on SSH, neither after kexec nor after a reset",
        next_action="check the serial console; the image may not support the hardware",
        kind=FailureKind.SERVER_FAULT,
    )


async def _tenant_comes_up(job: Job) -> bool:
    """Check for a while. It is bounded by time, as checking a dead machine takes seconds."""
    until = time.monotonic() + _LOOKS * job.context.limits.look_s
    while not await _tenant_answers(job):
        if time.monotonic() > until:
            return False
        await asyncio.sleep(job.context.limits.look_s)
    return True


async def _boot_by_firmware(job: Job) -> Outcome:
    """Boot the disk through firmware, as after every power cut, because kexec did not work."""
    reset_at = job.now()

    async def remember(session: AsyncSession, server: Server, operation: Operation) -> None:
        operation.memo = {**operation.memo, "firmware_reset_at": reset_at.isoformat()}

    await job.commit(remember)
    job.log("no SSH after kexec: reset and boot from disk through firmware")
    await job.drivers.bmc.set_boot_device(job.bmc_target(), BootDevice.DISK, once=False)
    # A reset does not turn on a server that has lost power.
    running = await job.drivers.bmc.power(job.bmc_target()) is Power.ON
    action = PowerAction.RESET if running else PowerAction.ON
    await job.drivers.bmc.set_power(job.bmc_target(), action)
    return Wait(2, "the server is booting from disk")


async def _tenant_answers(job: Job) -> bool:
    """Try the first key right away: on a starting system every handshake counts."""
    try:
        await _require_login(job, job.system().authorized_keys[:1])
    except (SshUnreachable, HostKeyMismatch):
        # Right after kexec the ramdisk's SSH server may still answer, with its own key.
        return False
    return True


async def _require_login(job: Job, keys: list[str]) -> None:
    for key in keys:
        if not await job.drivers.ssh.accepts_key(job.tenant(), key):
            raise Failure(
                "the tenant system does not accept the customer's key",
                next_action="check that the image's SSH server reads the login user's keys",
                kind=FailureKind.SERVER_FAULT,
            )


async def open_port(job: Job) -> Outcome:
    """Open the switch port: the customer can reach the server, and the server the network."""
    switch, port = job.drivers.switch, job.server.switch_port
    if switch is None or not port:
        return Done("no switch port is under control")
    if job.server.state not in (State.IMAGING, State.LEASED):
        # An open lease that is still to be reclaimed is no reason to let anybody in.
        return Done(f"the server is {job.server.state}: its port reaches only the provisioner")
    await switch.set_port(port, is_open=True)
    return Done("the port is open")


async def hand_over(job: Job) -> Outcome:
    """Hand over once every key is accepted (the first just was) and the agent reports."""
    lease, reservation, _ = job.tenancy()
    await _require_login(job, reservation.authorized_keys[1:])
    seen = job.snapshot.agent_seen_at()
    # The previous system's agent may have reported until its power was cut.
    if seen is None or seen < (lease.stopped_at or job.operation.started_at):
        if job.step_age() < job.context.limits.tenant_boot:
            return Wait(1, "the agent has not reported yet")
        raise Failure(
            "the agent does not report from the tenant system",
            next_action="check that the image runs the agent and reaches the provisioner",
            kind=FailureKind.SERVER_FAULT,
        )

    async def change(session: AsyncSession, server: Server, operation: Operation) -> None:
        row = (await session.exec(select(Lease).where(Lease.id == lease.id))).one()
        if row.ready_at is not None:  # a reinstallation
            row.stopped_at, row.started_at = None, job.now()
            return
        row.ready_at = job.now()
        await enqueue(session, row, WebhookEvent.READY, job.now())

    return Done("handed over", change)
