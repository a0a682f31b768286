"""The composition root: the only place that wires settings, database, drivers, service and loops.

The command line runs it on real hardware, `lab.serve` on simulated servers.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from provisioner.domain.quotas import Quota
from provisioner.domain.webhook_addresses import AddressRules
from provisioner.drivers.bmc.ipmi import IpmiBmc
from provisioner.drivers.images import ImageLibrary
from provisioner.drivers.netboot import Netboot
from provisioner.drivers.netboot.dnsmasq import Dnsmasq
from provisioner.drivers.netboot.dnsmasq_settings import DnsmasqSettings
from provisioner.drivers.netboot.external import ExternalNetboot
from provisioner.drivers.network import Switch
from provisioner.drivers.network.open_vswitch import OpenVSwitch
from provisioner.drivers.plays.runner import AnsiblePlays
from provisioner.drivers.ssh.keys import key_file
from provisioner.drivers.ssh.paramiko_ssh import ParamikoSsh
from provisioner.drivers.webhooks import WebhookDelivery
from provisioner.drivers.webhooks.post import WebhookPost
from provisioner.garbage import GarbageCollection
from provisioner.health.judge import Judge
from provisioner.health.sensors import SensorPoll
from provisioner.lifecycle.job import Context, Drivers, Limits, MachineNetwork
from provisioner.lifecycle.reconciler import Reconciler
from provisioner.lifecycle.steps.ramdisk import address_reservations
from provisioner.loops import Driver, Loop
from provisioner.notifications.sender import WebhookSender
from provisioner.private_files import private_folder
from provisioner.rental.binder import Binder
from provisioner.service.app import make_app
from provisioner.service.context import Services
from provisioner.service.http.connections import ConnectionLimits
from provisioner.service.http.serving import serve
from provisioner.settings import Settings
from provisioner.site_clock import ClockCheck, SiteClock, start_clock
from provisioner.startup import log_start
from provisioner.store.columns import utc_now
from provisioner.store.database import Database
from provisioner.store.migrate import migrate
from provisioner.store.secrets import SecretBox

log = logging.getLogger("provisioner")

Clock = Callable[[], datetime]


@dataclass(frozen=True)
class Daemon:
    """Everything that runs in one process, put together and not yet started."""

    settings: Settings
    database: Database
    box: SecretBox
    drivers: Drivers
    authorized_key: str
    """The provisioner's own public SSH key."""
    post: WebhookDelivery
    clock: Clock = utc_now
    driver: Driver = field(default_factory=Driver)
    """Turns all loops, the service's own ones too."""

    @property
    def services(self) -> Services:
        """What the service's handlers work with."""
        return Services(
            database=self.database,
            secret_box=self.box,
            bmc=self.drivers.bmc,
            images=ImageLibrary(self.settings.image_dir),
            image_import_dir=self.settings.image_import_dir,
            machine_url=self.settings.machine_url,
            ramdisk_dir=self.settings.ramdisk_dir,
            authorized_key=self.authorized_key,
            public_url=self.settings.public_url,
            machine_networks=tuple(self.settings.machine_networks),
            trusted_proxies=tuple(self.settings.trusted_proxies),
            streams_per_account=self.settings.max_streams_per_account,
            streams_per_address=self.settings.max_streams_per_address,
            quota=Quota(
                self.settings.max_servers_per_account,
                timedelta(days=self.settings.max_reservation_days),
            ),
            webhook_post=self.post,
            webhook_rules=webhook_rules(self.settings),
            clock=self.clock,
            driver=self.driver,
        )

    @property
    def context(self) -> Context:
        """What the steps of operations work with."""
        settings = self.settings
        return Context(
            drivers=self.drivers,
            box=self.box,
            clock=self.clock,
            machine_url=settings.machine_url,
            authorized_key=self.authorized_key,
            kept_bmc_users=frozenset(settings.kept_bmc_users),
            rotate_bmc_passwords=settings.rotate_bmc_passwords,
            network=MachineNetwork(
                prefix=settings.provisioning_network.network.prefixlen,
                gateway=settings.gateway,
                dns_servers=tuple(settings.dns_servers),
            ),
            limits=Limits(
                boot=timedelta(seconds=settings.boot_limit_s),
                tenant_boot=timedelta(seconds=settings.tenant_boot_limit_s),
                sanitise=timedelta(seconds=settings.sanitise_limit_s),
            ),
        )

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[list[Any]]:
        """The service answers until the end of the `with`, at the addresses that it gives."""
        runner = await serve(
            make_app(self.services),
            self.settings.listen_host,
            self.settings.listen_port,
            limits=connection_limits(self.settings),
        )
        try:
            yield runner.addresses
        finally:
            await runner.cleanup()

    @property
    def loops(self) -> list[Loop]:
        """All background work but the service's own."""
        settings, database, clock = self.settings, self.database, self.clock
        bmc, rules = self.drivers.bmc, webhook_rules(settings)
        return [
            *([ClockCheck(database, clock)] if isinstance(clock, SiteClock) else []),
            GarbageCollection(clock=clock),
            Reconciler(
                database,
                self.context,
                claim_ttl=timedelta(seconds=settings.claim_ttl_s),
                concurrency=settings.concurrency,
                site=settings.site,
            ),
            Binder(database, clock=clock),
            Judge(database, clock=clock, site=settings.site),
            SensorPoll(database, bmc, self.box, clock=clock, site=settings.site),
            WebhookSender(database, self.box, post=self.post, rules=rules, clock=clock),
        ]


async def run(settings: Settings) -> None:
    """Run the daemon on real hardware until it is cancelled."""
    private_folder(settings.image_import_dir)
    async with open_database(settings) as database:
        private_key, authorized_key = key_file(settings.data_dir / "ssh" / "id_ed25519")
        clock = await start_clock(database, timedelta(seconds=settings.clock_tolerance_s))
        post = WebhookPost()
        try:
            async with running_drivers(settings, database, private_key, clock) as drivers:
                box = SecretBox.from_file(settings.secret_key_file)
                daemon = Daemon(settings, database, box, drivers, authorized_key, post, clock)
                async with daemon.serving() as addresses, daemon.driver.running(*daemon.loops):
                    loops = [status.name for status in daemon.driver.statuses]
                    await log_start(settings, database, addresses, loops)
                    await asyncio.Event().wait()
        finally:
            post.close()


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """The database of the settings, brought to the current schema."""
    database = Database(settings.database_url)
    try:
        await migrate(database)
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def running_drivers(
    settings: Settings, database: Database, private_key: Path, clock: Clock
) -> AsyncIterator[Drivers]:
    async with running_netboot(settings, database, clock) as netboot:
        bmc, ssh = IpmiBmc(), ParamikoSsh(private_key)
        plays = AnsiblePlays(root=settings.data_dir / "plays", private_key=private_key)
        try:
            yield Drivers(bmc=bmc, plays=plays, ssh=ssh, netboot=netboot, switch=_switch(settings))
        finally:
            await plays.close()
            await ssh.close()
            await bmc.close()


@asynccontextmanager
async def running_netboot(
    settings: Settings, database: Database, clock: Clock
) -> AsyncIterator[Netboot]:
    """DHCP and TFTP on the provisioning network, knowing every enrolled server that it can."""
    if not settings.netboot_interface:
        yield ExternalNetboot()
        return
    netboot = Dnsmasq(
        DnsmasqSettings(
            interface=settings.netboot_interface,
            address=settings.provisioning_network,
            base_url=settings.machine_url,
            state_dir=settings.netboot_dir / "dnsmasq",
            tftp_root=settings.netboot_dir / "tftp",
        ),
        on_death=lambda reason: log.error("dnsmasq died and is started again: %s", reason),
        clock=clock,
    )
    async with database.write() as session:
        hosts = await address_reservations(session, clock())
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


def connection_limits(settings: Settings) -> ConnectionLimits:
    """How many connections the service accepts."""
    limits = ConnectionLimits(
        per_address=settings.max_connections_per_address,
        proxies=tuple(settings.trusted_proxies),
    )
    return replace(limits, at_once=settings.max_connections or limits.at_once)


def webhook_rules(settings: Settings) -> AddressRules:
    """Where customers' webhooks may go."""
    return AddressRules(
        allow_http=settings.webhook_allow_http,
        allowed=tuple(settings.webhook_allow_networks),
        refused=(*settings.machine_networks, settings.provisioning_network.network),
    )
