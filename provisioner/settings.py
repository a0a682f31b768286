"""Every setting of the daemon: from `IRONLEASE_…` environment variables or a TOML file.

`IRONLEASE_CONFIG` names the file; environment variables take precedence over it.
"""

import os
from collections.abc import Iterator
from difflib import get_close_matches
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

from pydantic import Field, PositiveFloat, PositiveInt, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

_PREFIX = "IRONLEASE_"
_OF_OTHERS = frozenset(
    f"{_PREFIX}{name}"
    for name in ("CONFIG", "URL", "TOKEN", "CACHE", "LAB_ACCELERATION", "NVML_STATE")
)
"""Variables that are no settings: the file's name, and those of rackctl and the lab."""


class BadSettings(Exception):
    """Settings that cannot be used; a line for each fault, with what to change."""


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, extra="forbid", use_attribute_docstrings=True
    )

    data_dir: Path = Path("/var/lib/ironlease")
    """Directory of keys, images and the SQLite database."""
    database_url: str = Field(default="", validation_alias="DATABASE_URL")
    """`sqlite:///path` or `postgresql://…`. Empty: SQLite in `data_dir`."""
    secret_key_file: Path = Path()
    """File with the key that seals secrets at rest. Default: `secret.key` in `data_dir`."""
    site: str = ""
    """Reconcile only the servers of this site. Empty: all sites."""

    listen_host: str = "127.0.0.1"
    """Address the service listens on, in addition to any sockets passed by systemd."""
    listen_port: int = Field(default=8080, ge=0, le=65535)
    """Port the service listens on, at `listen_host`."""
    public_url: str = "http://127.0.0.1:8080"
    """URL of the service for people. With `https://…`, cookies and browsers stick to https."""
    machine_url: str = "http://127.0.0.1:8080"
    """URL of the service for servers and agents."""
    machine_networks: list[IPv4Network] = []
    """Networks that boot, agent and image requests are accepted from. Empty: any."""
    trusted_proxies: list[IPv4Network | IPv6Network] = []
    """Networks of your reverse proxies. Only their `X-Forwarded-For` is believed. Without it, all
    clients of a proxy share one address, and so the limits of one."""

    max_connections: PositiveInt | None = None
    """Connections at once. Default: as many as the limit on open files leaves."""
    max_connections_per_address: PositiveInt = 1024
    """Connections at once from one IPv4 address or IPv6 /64, except from `trusted_proxies`. Each
    agent keeps two, so servers behind one NAT address need twice their number."""
    max_streams_per_account: PositiveInt = 32
    """Event streams of one account at once. Each open page of a server or operation has one."""
    max_streams_per_address: PositiveInt = 128
    """Event streams from one IPv4 address or IPv6 /64 at once."""

    max_servers_per_account: PositiveInt = 16
    """Servers that one customer may reserve at the same time, unless the account has its own limit
    (`rackctl account quota`)."""
    max_reservation_days: int = Field(default=90, ge=1, le=366)
    """Length of one customer's reservation with its extensions, unless the account has its own
    limit."""

    ramdisk_dir: Path = Path("/var/lib/ironlease/ramdisk")
    """Directory of the deploy ramdisk: `vmlinuz` and `ramdisk.img`."""
    image_dir: Path = Path()
    """Directory of the image library. Default: `images` in `data_dir`."""
    image_import_dir: Path = Path()
    """Directory of the files that operators may import as images. Default: `import` in `data_dir`.
    """

    netboot_interface: str = ""
    """Network interface to serve DHCP and TFTP on. Empty: something else serves them."""
    netboot_address: IPv4Address = IPv4Address("10.77.0.1")
    """The provisioner's address on that interface."""
    netboot_netmask: IPv4Address = IPv4Address("255.255.255.0")
    """The netmask there. Every server's address must be in this network."""
    gateway: IPv4Address | None = None
    """Default route of the tenants' systems on the provisioning network. None: no route."""
    dns_servers: list[IPv4Address] = []
    """Name servers of the tenants' systems."""
    netboot_dir: Path = Path("/run/ironlease/netboot")
    """State of DHCP and TFTP. Must be readable by the unprivileged user that serves them."""

    kept_bmc_users: list[str] = []
    """BMC users, besides the provisioner's own, that stay enabled after a lease. A tenant may have
    changed their passwords from inside the server."""
    rotate_bmc_passwords: bool = True
    """Give the provisioner's BMC user a new random password after each lease, and recover a BMC
    whose password the tenant changed. Turn it off if BMC logins are managed elsewhere."""
    switch_run_dir: Path | None = None
    """Run directory of the Open vSwitch that the servers are connected to. None: no switch."""
    switch_bridge: str = "br0"
    """The Open vSwitch bridge with the servers' ports."""
    switch_provisioner_port: str = "LOCAL"
    """The provisioner's port on the bridge, with `netboot_address`. `LOCAL` is the bridge's own
    interface."""

    webhook_allow_http: bool = False
    """Also allow `http://` addresses for customers' webhooks. For labs."""
    webhook_allow_networks: list[IPv4Network | IPv6Network] = []
    """Internal networks that webhooks may go to; without them, only the Internet. Webhooks never go
    to `machine_networks`, the netboot network, servers or BMCs."""

    boot_limit_s: PositiveFloat = 900
    """From power-on to a ready ramdisk. Real servers take minutes to POST."""
    tenant_boot_limit_s: PositiveFloat = 600
    """From kexec to the tenant's SSH server. Starts over after a firmware reset."""
    sanitise_limit_s: PositiveFloat = 6 * 3600
    """For erasing all disks of a server, in parallel."""
    claim_ttl_s: PositiveFloat = 30
    """How long a dead reconciler keeps others from its servers."""
    clock_tolerance_s: PositiveFloat = 5
    """How far the host's clock may be from the time that has passed since the last look. A larger
    jump is not followed: no lease ends by it, and an incident says so."""
    concurrency: PositiveInt = 64
    """Number of servers that one process works on at once."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        named = os.environ.get("IRONLEASE_CONFIG")
        if named is None:
            return init_settings, env_settings
        if not Path(named).is_file():
            raise FileNotFoundError(f"IRONLEASE_CONFIG names {named}, which does not exist")
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, Path(named))

    @model_validator(mode="after")
    def fill_in(self) -> "Settings":
        self.database_url = self.database_url or f"sqlite:///{self.data_dir / 'ironlease.db'}"
        if self.secret_key_file == Path():
            self.secret_key_file = self.data_dir / "secret.key"
        if self.image_dir == Path():
            self.image_dir = self.data_dir / "images"
        if self.image_import_dir == Path():
            self.image_import_dir = self.data_dir / "import"
        kept = [self.data_dir, self.image_dir, self.secret_key_file]
        if self.database_url.startswith("sqlite:///"):
            kept.append(Path(self.database_url.removeprefix("sqlite:///")))
        if any(path.resolve().is_relative_to(self.image_import_dir.resolve()) for path in kept):
            raise ValueError(
                "image_import_dir: operators could import the daemon's own files from here; name "
                "a directory that holds none of them"
            )
        return self

    @property
    def provisioning_network(self) -> IPv4Interface:
        """The provisioner's own address on the network that servers boot from."""
        return IPv4Interface(f"{self.netboot_address}/{self.netboot_netmask}")


def read_settings() -> Settings:
    """The settings of the environment and the file. Raises BadSettings."""
    unknown = list(_unknown_variables())
    if unknown:
        raise BadSettings("\n".join(unknown))
    try:
        return Settings()
    except ValidationError as error:
        raise BadSettings("\n".join(map(_fault, error.errors()))) from error
    except (SettingsError, OSError, ValueError) as error:  # ValueError: not TOML
        raise BadSettings(str(error)) from error


def _unknown_variables() -> Iterator[str]:
    known = {f"{_PREFIX}{name.upper()}" for name in Settings.model_fields}
    for name in sorted(os.environ):
        if name.startswith(_PREFIX) and name not in known | _OF_OTHERS:
            close = get_close_matches(name, known, n=1)
            yield f"{name} is not a setting" + (f"; did you mean {close[0]}?" if close else "")


def _fault(fault: Any) -> str:
    name = ".".join(map(str, fault["loc"])) or "settings"
    return f"{name}: {fault['msg']} (given: {fault['input']!r})"
