"""What the handlers work with, assembled once at the start."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from aiohttp import web

from provisioner.domain.quotas import DEFAULT, Quota
from provisioner.domain.webhook_addresses import AddressRules
from provisioner.drivers.bmc import Bmc
from provisioner.drivers.images import ImageLibrary
from provisioner.drivers.webhooks import WebhookDelivery
from provisioner.drivers.webhooks.post import WebhookPost
from provisioner.loops import Driver
from provisioner.store.columns import utc_now
from provisioner.store.database import Database
from provisioner.store.secrets import SecretBox


@dataclass(frozen=True, kw_only=True)
class Services:
    database: Database
    secret_box: SecretBox
    bmc: Bmc
    images: ImageLibrary
    image_import_dir: Path
    """Where the files lie that operators may import."""
    machine_url: str
    """Base URL of the service as servers see it, without a slash at the end."""
    ramdisk_dir: Path
    """Holds `vmlinuz` and `ramdisk.img`."""
    authorized_key: str
    """The provisioner's own public key line: the only one that ramdisks let in."""
    public_url: str = "http://127.0.0.1:8080"
    """URL that people use; with https, cookies are for https only."""
    machine_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Where boot, agent and image requests may come from; empty means anywhere."""
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    """Whose `X-Forwarded-For` is believed."""
    streams_per_account: int = 32
    streams_per_address: int = 128
    """How many event streams may be open at once."""
    quota: Quota = DEFAULT
    """Of accounts without their own."""
    webhook_post: WebhookDelivery = field(default_factory=WebhookPost)
    webhook_rules: AddressRules = field(default_factory=AddressRules)
    """Where customers' webhooks may go."""
    clock: Callable[[], datetime] = utc_now
    report_interval_s: float = 10.0
    """How often agents are asked to report."""
    poll_s: float = 1.0
    """How often an event stream polls for changes."""
    credentials_poll_s: float = 2.0
    """How often an event stream checks that its caller may still have it."""
    driver: Driver = field(default_factory=Driver)
    """Runs the daemon's background work and knows its status."""

    @property
    def secure(self) -> bool:
        """Whether people reach the service by https."""
        return self.public_url.startswith("https:")


SERVICES = web.AppKey("services", Services)


def services_of(request: web.Request) -> Services:
    return request.app[SERVICES]
