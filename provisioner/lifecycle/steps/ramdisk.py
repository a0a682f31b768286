"""Steps that boot a server into the deploy ramdisk, using only power control and network boot."""

import asyncio
from datetime import datetime, timedelta

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain import names
from provisioner.domain.failures import Failure, FailureKind
from provisioner.domain.incidents import IncidentKind
from provisioner.domain.lifecycle import State, Step, next_step
from provisioner.domain.retries import BOOTS
from provisioner.drivers.bmc import BootDevice, Power, PowerAction
from provisioner.drivers.netboot import Host
from provisioner.drivers.ssh import HostKeyMismatch, SshState, SshTarget
from provisioner.drivers.ssh.keys import new_host_key
from provisioner.incidents import close_incidents, open_incident, open_one
from provisioner.lifecycle.identities import revoke_identities
from provisioner.lifecycle.job import Change, Done, GoTo, Job, Outcome, Wait
from provisioner.store.secrets import new_token, token_hash
from provisioner.store.tables import AgentIdentity, Boot, Lease, Operation, Server

FRESH = timedelta(seconds=30)
"""A ramdisk that reported this recently counts as alive."""

_READBACKS = 20
"""Checks of the power state after a command before waiting longer."""


async def find_ramdisk(job: Job) -> Outcome:
    """Skip the boot if our ramdisk is already running: on real hardware that saves minutes."""
    boot = job.snapshot.boot
    if boot is None or boot.ready_at is None:
        return Done("no ramdisk is waiting")
    seen = job.snapshot.agent_seen_at()
    # After a failure in the ramdisk, its last report proves nothing.
    if job.operation.attempt == 0 and seen is not None and job.now() - seen < FRESH:
        alive = True
    else:
        alive = await ramdisk_answers(job, boot)
    if not alive:
        return Done("the waiting ramdisk no longer answers")
    after = next_step(job.verb, Step.AWAIT_RAMDISK)
    if after is None:
        raise LookupError(f"{job.verb} does nothing in the ramdisk")
    return GoTo(after, "a ramdisk is waiting")


async def ramdisk_answers(job: Job, boot: Boot) -> bool:
    target = SshTarget(job.server.address, boot.host_key)
    try:
        return await job.drivers.ssh.probe(target) is SshState.ANSWERS
    except HostKeyMismatch as mismatch:
        job.log(mismatch.reason)
        return False


async def power_off(job: Job) -> Outcome:
    if not await reach_power(job, Power.OFF, PowerAction.OFF):
        return Wait(2, "the BMC accepted power off; the server is still on")
    return Done("power is off", note_off(job))


async def reach_power(job: Job, wanted: Power, action: PowerAction) -> bool:
    """Bring the server into a power state and read it back; return whether it got there."""
    target = job.bmc_target()
    bmc = job.drivers.bmc
    if await bmc.power(target) is wanted:
        return True
    job.log(f"power {action.value}")
    await bmc.set_power(target, action)
    for _ in range(_READBACKS):
        if await bmc.power(target) is wanted:
            return True
        await asyncio.sleep(job.context.limits.look_s)
    return False


def close_boots(job: Job) -> Change:
    """Close open boots and revoke their agent identities: the ramdisk is gone."""

    async def change(session: AsyncSession, server: Server, operation: Operation) -> None:
        now = job.now()
        boots = await session.exec(
            select(Boot).where(Boot.server_id == server.id, col(Boot.closed_at).is_(None))
        )
        for boot in boots:
            boot.closed_at = now
        of_a_boot = col(AgentIdentity.boot_id).is_not(None)
        await revoke_identities(session, server.id, of_a_boot, now=now)

    return change


def note_off(job: Job) -> Change:
    """Record that the server is off; a silent tenant's agent is then expected."""

    async def change(session: AsyncSession, server: Server, operation: Operation) -> None:
        await close_boots(job)(session, server, operation)
        if server.state is State.LEASED and job.snapshot.lease is not None:
            lease = await session.get_one(Lease, job.snapshot.lease.id)
            lease.stopped_at = lease.stopped_at or job.now()
            await close_incidents(session, server, IncidentKind.SILENT, now=job.now())

    return change


async def open_boot_window(job: Job) -> Outcome:
    """Allow one boot of the ramdisk, with a token for iPXE and a host key for the first login.

    Until the next tenant's system runs, the server's port reaches only the provisioner. So whatever
    else boots, such as an old tenant's system that the firmware prefers, reaches nobody.
    """
    switch, port = job.drivers.switch, job.server.switch_port
    if switch is not None and port:
        await switch.allow_boot(port, job.server.boot_mac)
    boot = job.snapshot.boot
    if boot is not None and boot.identified_at is None and boot.expires_at > job.now():
        return Done("the boot window is already open")
    await _reserve_addresses(job)
    private, public = new_host_key(job.server.name)
    token, agent_token = new_token("ilboot"), new_token("ilagent")
    box, now = job.context.box, job.now()

    async def change(session: AsyncSession, server: Server, operation: Operation) -> None:
        await close_boots(job)(session, server, operation)
        session.add(
            Boot(
                server_id=server.id,
                operation_id=operation.id,
                token_secret=box.seal(token),
                token_hash=token_hash(token),
                host_key=public,
                host_key_secret=box.seal(private),
                agent_token_secret=box.seal(agent_token),
                opened_at=now,
                expires_at=now + job.context.limits.boot_window,
            )
        )

    return Done("the boot window is open", change)


async def _reserve_addresses(job: Job) -> None:
    """Give DHCP every server's current address."""
    hosts: list[Host] = []

    async def read(session: AsyncSession, server: Server, operation: Operation) -> None:
        hosts.extend(await address_reservations(session, job.now()))

    await job.commit(read)
    await job.drivers.netboot.set_hosts(hosts)
    fault = _unserved(job.server)
    if fault is not None:
        raise fault


async def address_reservations(session: AsyncSession, now: datetime) -> list[Host]:
    """Return (MAC, address, host name) of every server, for DHCP. A server that DHCP cannot serve
    is left out and gets an incident; all others are served."""
    hosts = []
    for server in await session.exec(select(Server).order_by(col(Server.name))):
        fault = _unserved(server)
        if fault is None:
            hosts.append((server.boot_mac, server.address, server.name))
        elif await open_one(session, server, IncidentKind.STEP) is None:
            await open_incident(
                session, server, IncidentKind.STEP, fault.reason, fault.next_action, now=now
            )
    return hosts


def _unserved(server: Server) -> Failure | None:
    """Why DHCP cannot serve a server, if so."""
    try:
        names.mac(server.boot_mac)
        names.machine_address(server.address)
        names.server_name(server.name)
    except ValueError as error:
        return Failure(
            f"{server.name} cannot boot from the network: {error}",
            next_action=f"correct the entry of {server.name} in the inventory, then: rackctl enrol",
            kind=FailureKind.CONFIGURATION,
        )
    return None


async def power_on(job: Job) -> Outcome:
    """Set network boot for once, power on and read it back. Uses one of the operation's boots."""
    target = job.bmc_target()
    if await job.drivers.bmc.power(target) is Power.OFF:
        job.log("next boot from the network")
        await job.drivers.bmc.set_boot_device(target, BootDevice.NETWORK, once=True)
        if not await reach_power(job, Power.ON, PowerAction.ON):
            return Wait(2, "the BMC accepted power on; the server is still off")

    async def change(session: AsyncSession, server: Server, operation: Operation) -> None:
        operation.boots += 1

    return Done("power is on", change)


async def await_ramdisk(job: Job) -> Outcome:
    """Wait until the ramdisk reports that it is ready; boot again if it does not."""
    boot = job.snapshot.boot
    if boot is None:
        return GoTo(Step.POWER_OFF, "its boot was closed")
    if boot.ready_at is not None:
        return Done("the ramdisk is ready")
    if await job.drivers.bmc.power(job.bmc_target()) is Power.OFF:
        reason = "the server went off while booting"
    elif boot.identified_at is None and await _other_system_answers(job, boot):
        reason = "a system other than the ramdisk is running: it did not boot from the network"
    elif job.step_age() < job.context.limits.boot:
        return Wait(5, _progress(boot))
    else:
        reason = f"no ramdisk after {job.step_age().total_seconds():.0f} s: {_evidence(job, boot)}"
    job.log(reason)
    if job.operation.boots < BOOTS:
        return GoTo(Step.POWER_OFF, reason)
    # Whatever is running is not ours: leave the server off.
    if not await reach_power(job, Power.OFF, PowerAction.OFF):
        return Wait(2, "the server is still on")
    raise Failure(
        f"{reason} ({job.operation.boots} boots tried)",
        next_action=_remedy(job, boot),
        kind=FailureKind.SERVER_FAULT,
    )


async def _other_system_answers(job: Job, boot: Boot) -> bool:
    """Whether another system runs: a server that ignored the boot override may run a tenant's."""
    try:
        await job.drivers.ssh.probe(SshTarget(job.server.address, boot.host_key))
    except HostKeyMismatch:
        return True
    return False


def _progress(boot: Boot) -> str:
    if boot.identified_at is not None:
        return "the ramdisk is starting"
    return "the ramdisk is loading" if boot.asked_at is not None else "firmware is starting"


def _evidence(job: Job, boot: Boot) -> str:
    if boot.identified_at is not None:
        return "it identified itself but never became ready"
    if boot.asked_at is not None:
        return "iPXE got its boot script, but the ramdisk never identified itself"
    dhcp = job.drivers.netboot.dhcp_seen(job.server.boot_mac)
    if dhcp is not None and dhcp >= boot.opened_at:
        return f"{job.server.boot_mac} got an address by DHCP but never asked for a boot script"
    return f"no DHCP request from {job.server.boot_mac} was seen"


def _remedy(job: Job, boot: Boot) -> str:
    if boot.asked_at is not None:
        return "watch the serial console during boot; check memory and the ramdisk's drivers"
    return (
        f"check that {job.server.boot_mac} is the NIC on the provisioning network, check its cable "
        "and VLAN, and enable network boot in the firmware; "
        f"then: rackctl server repaired {job.server.name}"
    )
