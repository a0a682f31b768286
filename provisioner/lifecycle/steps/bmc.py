"""Secures the BMC after a lease: root on the server could change its users and passwords in band.

A BMC that refuses us is recovered from inside the ramdisk. Power and boot are in `ramdisk.py`.
"""

from collections.abc import Sequence
from dataclasses import replace

from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.failures import Failure, FailureKind
from provisioner.domain.incidents import IncidentKind
from provisioner.domain.lifecycle import OperationState
from provisioner.domain.retries import PATIENCE
from provisioner.drivers.bmc import BmcLoginRefused, BmcUser
from provisioner.drivers.network import Switch
from provisioner.incidents import close_incidents, open_incident
from provisioner.lifecycle.job import Change, Done, Job, Outcome, Wait
from provisioner.lifecycle.steps.ramdisk import open_boot_window, ramdisk_answers
from provisioner.store.secrets import new_bmc_password
from provisioner.store.tables import Operation, Server


async def reach_bmc(job: Job) -> Outcome:
    """Log in to the BMC.

    After two refusals it counts as lost. It is then left alone, as BMCs lock accounts after failed
    logins, until it is recovered or an operator enters its password.
    """
    if job.server.bmc_lost_at is None:
        try:
            await job.drivers.bmc.power(job.bmc_target())
        except BmcLoginRefused as refused:
            if job.operation.attempt == 0:
                raise Failure(refused.reason, next_action=refused.next_action) from refused
            job.log(refused.reason)
            await job.commit(_lose(job, refused))
        else:
            return Done("the BMC accepts our password")
    switch, port = job.drivers.switch, job.server.switch_port
    if switch is None or not port or not job.context.rotate_bmc_passwords:
        return Wait(PATIENCE.total_seconds(), "waiting for the BMC's password")
    return await _recover_access(job, switch, port)


def _lose(job: Job, refused: BmcLoginRefused) -> Change:
    by_hand = f"set the password at the BMC itself, then: rackctl server set-bmc {job.server.name}"
    if job.drivers.switch is None or not job.server.switch_port:
        action = f"cut the power of the server, as its last tenant may still use it; {by_hand}"
    elif job.context.rotate_bmc_passwords:
        action = (
            "power cycle the server by hand and let it boot from the network: the ramdisk then "
            f"sets the BMC's password from inside. Or {by_hand}"
        )
    else:
        action = by_hand

    async def change(session: AsyncSession, server: Server, operation: Operation) -> None:
        now = job.now()
        server.bmc_lost_at = now
        server.reason, server.next_action = refused.reason, action
        operation.state = OperationState.PARKED
        await open_incident(
            session,
            server,
            IncidentKind.ACCESS,
            refused.reason,
            action,
            now=now,
            operation_id=operation.id,
        )

    return change


async def _recover_access(job: Job, switch: Switch, port: str) -> Outcome:
    """Set our password in the BMC from inside the ramdisk, once somebody has booted it.

    The tenant's system may still be running and pose as the ramdisk. It then only gives us back the
    BMC, which cuts its power; the password that it saw is rotated afterwards.
    """
    await switch.allow_boot(port, job.server.boot_mac)
    boot = job.snapshot.boot
    if boot is not None and boot.ready_at is not None and await ramdisk_answers(job, boot):
        return await _set_from_inside(job)
    if boot is None or boot.expires_at <= job.now():
        window = await open_boot_window(job)
        if isinstance(window, Done) and window.change is not None:
            await job.commit(window.change)
    return Wait(PATIENCE.total_seconds(), "the BMC is lost; waiting for the ramdisk to boot")


async def _set_from_inside(job: Job) -> Outcome:
    sealed, password = await _next_password(job)
    target = replace(job.bmc_target(), password=password, next_password="")
    job.log(f"set the password of BMC user {target.username!r} from inside")
    await job.play(
        "recover_bmc_access",
        {"username": target.username, "password": password},
        job.context.limits.play,
    )
    await job.drivers.bmc.power(target)

    async def change(session: AsyncSession, server: Server, operation: Operation) -> None:
        _take_over(server, sealed)
        await close_incidents(session, server, IncidentKind.ACCESS, now=job.now())

    return Done("BMC access was recovered from inside", change)


async def disable_bmc_users(job: Job) -> Outcome:
    """Disable all BMC users but ours: root on the server can create users and set passwords."""
    target = job.bmc_target()
    kept = {target.username, *job.context.kept_bmc_users}
    unexpected = _unexpected_users(await job.drivers.bmc.users(target), kept)
    for user in unexpected:
        job.log(f"disable BMC user {user.id} {user.name!r} ({user.privilege})")
        await job.drivers.bmc.disable_user(target, user.id)
    left = _unexpected_users(await job.drivers.bmc.users(target), kept)
    if left:
        raise Failure(
            f"BMC users cannot be disabled: {', '.join(repr(user.name) for user in left)}",
            next_action="disable them in the BMC itself, or reset it to factory defaults; "
            f"then: rackctl server repaired {job.server.name}",
            kind=FailureKind.SERVER_FAULT,
        )
    return Done(f"{len(unexpected)} BMC users disabled" if unexpected else "no other BMC user")


def _unexpected_users(users: Sequence[BmcUser], kept: set[str]) -> list[BmcUser]:
    """Return all users but the first of each kept name; a second one is not ours."""
    first = {user.name: user.id for user in reversed(users)}
    return [user for user in users if user.name not in kept or user.id != first[user.name]]


async def rotate_bmc_password(job: Job) -> Outcome:
    """Give our BMC user a new password in two phases.

    It is stored before it is set, and replaces the old one after a login with it. In between either
    may be valid, so every login tries both.
    """
    if not job.context.rotate_bmc_passwords:
        return Done("rotation is switched off")
    sealed, password = await _next_password(job)
    target = replace(job.bmc_target(), next_password=password)
    ours = [u for u in await job.drivers.bmc.users(target) if u.name == target.username]
    if not ours:
        raise Failure(
            f"the BMC does not list {target.username!r}, who is logged in",
            next_action="give the provisioner a BMC user of its own, or set "
            "rotate_bmc_passwords = false",
            kind=FailureKind.CONFIGURATION,
        )
    await job.drivers.bmc.set_user_password(target, ours[0].id, password)
    await job.drivers.bmc.power(replace(target, password=password, next_password=""))

    async def change(session: AsyncSession, server: Server, operation: Operation) -> None:
        _take_over(server, sealed)

    return Done(f"BMC user {target.username!r} has a new password", change)


async def _next_password(job: Job) -> tuple[str, str]:
    """Return the BMC's next password, sealed and open; it is stored before it is used."""
    sealed = job.server.bmc_next_secret
    if not sealed:
        sealed = job.context.box.seal(new_bmc_password())

        async def change(session: AsyncSession, server: Server, operation: Operation) -> None:
            server.bmc_next_secret = sealed

        await job.commit(change)
    return sealed, job.context.box.open(sealed)


def _take_over(server: Server, sealed: str) -> None:
    server.bmc_enrolled_secret = server.bmc_enrolled_secret or server.bmc_secret
    server.bmc_secret, server.bmc_next_secret = sealed, ""
    server.bmc_lost_at = None
