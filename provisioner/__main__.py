"""`python -m provisioner`: settings, then the database, then the service and the reconciler."""

import argparse
import asyncio
import contextlib
import logging
import resource
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from ipaddress import IPv4Interface
from pathlib import Path

from provisioner.accounts.tokens import bootstrap_admin
from provisioner.domain.webhook_addresses import AddressRules
from provisioner.drivers.bmc.ipmi import IpmiBmc
from provisioner.drivers.images import ImageLibrary
from provisioner.drivers.netboot.dnsmasq import Dnsmasq
from provisioner.drivers.netboot.dnsmasq_settings import DnsmasqSettings
from provisioner.drivers.netboot.external import ExternalNetboot
from provisioner.drivers.network import Switch
from provisioner.drivers.network.open_vswitch import OpenVSwitch
from provisioner.drivers.plays.runner import AnsiblePlays
from provisioner.drivers.ssh.keys import key_file
from provisioner.drivers.ssh.paramiko_ssh import ParamikoSsh
from provisioner.drivers.webhooks.post import WebhookPost
from provisioner.garbage import collect_by_the_clock
from provisioner.health.judge import Judge
from provisioner.health.sensors import SensorPoll
from provisioner.lifecycle.job import Context, Drivers, Limits, MachineNetwork, Netboot
from provisioner.lifecycle.reconciler import Reconciler
from provisioner.lifecycle.steps.ramdisk import address_reservations
from provisioner.notifications.sender import WebhookSender
from provisioner.service.app import make_app
from provisioner.service.context import Services
from provisioner.service.http.serving import serve
from provisioner.settings import Settings
from provisioner.store.columns import utc_now
from provisioner.store.database import Database, DatabaseUnavailable
from provisioner.store.migrate import migrate
from provisioner.store.secrets import SecretBox

log = logging.getLogger("provisioner")


def provisioning_network(settings: Settings) -> IPv4Interface:
    """The provisioner's own address on the network that servers boot from."""
    return IPv4Interface(f"{settings.netboot_address}/{settings.netboot_netmask}")


@asynccontextmanager
async def running_netboot(settings: Settings, database: Database) -> AsyncIterator[Netboot]:
    """DHCP and TFTP on the provisioning network, knowing every enrolled server."""
    if not settings.netboot_interface:
        yield ExternalNetboot()
        return
    netboot = Dnsmasq(
        DnsmasqSettings(
            interface=settings.netboot_interface,
            address=provisioning_network(settings),
            base_url=settings.machine_url,
            state_dir=settings.netboot_dir / "dnsmasq",
            tftp_root=settings.netboot_dir / "tftp",
        ),
        on_death=lambda reason: log.error("dnsmasq died and is started again: %s", reason),
    )
    async with database.read() as session:
        hosts = await address_reservations(session)
    await netboot.start(hosts)
    try:
        yield netboot
    finally:
        await netboot.stop()


def _switch(settings: Settings) -> Switch | None:
    if settings.switch_run_dir is None:
        return None
    return OpenVSwitch(
        settings.switch_run_dir,
        settings.switch_bridge,
        provisioner_port=settings.switch_provisioner_port,
        provisioner=settings.netboot_address,
    )


@asynccontextmanager
async def running_drivers(
    settings: Settings, database: Database, private_key: Path
) -> AsyncIterator[Drivers]:
    async with running_netboot(settings, database) as netboot:
        bmc, ssh = IpmiBmc(), ParamikoSsh(private_key)
        plays = AnsiblePlays(root=settings.data_dir / "plays", private_key=private_key)
        try:
            yield Drivers(bmc=bmc, plays=plays, ssh=ssh, netboot=netboot, switch=_switch(settings))
        finally:
            await plays.close()
            await ssh.close()
            await bmc.close()


def _webhook_rules(settings: Settings) -> AddressRules:
    return AddressRules(
        allow_http=settings.webhook_allow_http,
        allowed=tuple(settings.webhook_allow_networks),
        refused=(*settings.machine_networks, provisioning_network(settings).network),
    )


async def new_admin_token(settings: Settings) -> str:
    """A token of the first administrator, for the first login or after a loss; the one before
    stops working."""
    database = Database(settings.database_url)
    try:
        await migrate(database)
        async with database.write() as session:
            return await bootstrap_admin(session)
    finally:
        await database.close()


async def run(settings: Settings) -> None:
    """Run the daemon until it is cancelled."""
    database = Database(settings.database_url)
    try:
        await migrate(database)
        box = SecretBox.from_file(settings.secret_key_file)
        private_key, authorized_key = key_file(settings.data_dir / "ssh" / "id_ed25519")
        post, rules = WebhookPost(), _webhook_rules(settings)
        async with running_drivers(settings, database, private_key) as drivers:
            app = make_app(
                Services(
                    database=database,
                    secret_box=box,
                    bmc=drivers.bmc,
                    images=ImageLibrary(settings.image_dir),
                    machine_url=settings.machine_url,
                    ramdisk_dir=settings.ramdisk_dir,
                    authorized_key=authorized_key,
                    public_url=settings.public_url,
                    machine_networks=tuple(settings.machine_networks),
                    webhook_post=post,
                    webhook_rules=rules,
                )
            )
            serving = await serve(app, settings.listen_host, settings.listen_port)
            try:
                reconciler = Reconciler(
                    database,
                    Context(
                        drivers=drivers,
                        box=box,
                        clock=utc_now,
                        machine_url=settings.machine_url,
                        authorized_key=authorized_key,
                        kept_bmc_users=frozenset(settings.kept_bmc_users),
                        rotate_bmc_passwords=settings.rotate_bmc_passwords,
                        network=MachineNetwork(
                            prefix=provisioning_network(settings).network.prefixlen,
                            gateway=settings.gateway,
                            dns_servers=tuple(settings.dns_servers),
                        ),
                        limits=Limits(
                            boot=timedelta(seconds=settings.boot_limit_s),
                            tenant_boot=timedelta(seconds=settings.tenant_boot_limit_s),
                            sanitise=timedelta(seconds=settings.sanitise_limit_s),
                        ),
                    ),
                    claim_ttl=timedelta(seconds=settings.claim_ttl_s),
                    concurrency=settings.concurrency,
                    site=settings.site,
                )
                sender = WebhookSender(database, box, post=post, rules=rules)
                sensors = SensorPoll(database, drivers.bmc, box, clock=utc_now, site=settings.site)
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(collect_by_the_clock())
                    tasks.create_task(reconciler.run())
                    tasks.create_task(Judge(database, clock=utc_now, site=settings.site).run())
                    tasks.create_task(sensors.run())
                    tasks.create_task(sender.run())
            finally:
                post.close()
                await serving.cleanup()
    finally:
        await database.close()


async def until_signalled(settings: Settings) -> None:
    """Run the daemon until SIGTERM or SIGINT; work in progress goes on at the next start."""
    daemon = asyncio.create_task(run(settings))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, daemon.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await daemon


def allow_connections() -> None:
    """As many open files as the starter permits: each tenant's agent keeps two connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> None:
    arguments = argparse.ArgumentParser(prog="ironlease", description=__doc__)
    arguments.add_argument(
        "command",
        nargs="?",
        choices=("serve", "admin-token"),
        default="serve",
        help="serve (default): run the daemon; admin-token: print a new administrator's token",
    )
    command = arguments.parse_args().command
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    # Reports every connection; what matters of it is ours to say.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    settings = Settings()
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        if command == "admin-token":
            print(asyncio.run(new_admin_token(settings)))  # noqa: T201
        else:
            allow_connections()
            asyncio.run(until_signalled(settings))
    except DatabaseUnavailable as error:
        raise SystemExit(f"ironlease: {error}; is `database_url` right, and is it there?") from None


if __name__ == "__main__":
    main()
