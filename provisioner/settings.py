"""Every setting of the daemon: from `IRONLEASE_…` environment variables or a TOML file.

`IRONLEASE_CONFIG` names the file; a variable of the environment goes before it.
"""

import os
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from pathlib import Path

from pydantic import Field, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="IRONLEASE_", extra="forbid", use_attribute_docstrings=True
    )

    data_dir: Path = Path("/var/lib/ironlease")
    """Where keys, images and the SQLite database live."""
    database_url: str = Field(default="", validation_alias="DATABASE_URL")
    """`sqlite:///path` or `postgresql://…`; empty is SQLite in `data_dir`."""
    secret_key_file: Path = Path()
    """The key that seals secrets at rest; by default `secret.key` in `data_dir`."""
    site: str = ""
    """Reconcile the servers of this site only; empty is all."""

    listen_host: str = "127.0.0.1"
    """Address of the service; sockets that the starter passes (systemd) are served beside it."""
    listen_port: int = 8080
    """Port of the service, on `listen_host`."""
    public_url: str = "http://127.0.0.1:8080"
    """The service as people see it; `https://…` makes cookies and browsers keep to https."""
    machine_url: str = "http://127.0.0.1:8080"
    """The service as servers and agents see it."""
    machine_networks: list[IPv4Network] = []
    """Networks that boot, agent and image requests are taken from; empty is any."""

    ramdisk_dir: Path = Path("/var/lib/ironlease/ramdisk")
    """Holds the deploy ramdisk: `vmlinuz` and `ramdisk.img`."""
    image_dir: Path = Path()
    """The image library; by default `images` in `data_dir`."""

    netboot_interface: str = ""
    """Network interface on which DHCP and TFTP are served; empty: something else does it."""
    netboot_address: IPv4Address = IPv4Address("10.77.0.1")
    """The provisioner's address on that interface."""
    netboot_netmask: IPv4Address = IPv4Address("255.255.255.0")
    """The netmask there; every server's address lies in it."""
    gateway: IPv4Address | None = None
    """Default route of the tenants' systems on the provisioning network; None is none."""
    dns_servers: list[IPv4Address] = []
    """Name servers of the tenants' systems."""
    netboot_dir: Path = Path("/run/ironlease/netboot")
    """State of DHCP and TFTP; must be readable by the unprivileged user that serves them."""

    kept_bmc_users: list[str] = []
    """BMC users beside the provisioner's own that stay enabled after a lease. A tenant may have
    set their passwords from inside the server."""
    rotate_bmc_passwords: bool = True
    """Give the provisioner's BMC user a new random password after each lease, and win a BMC back
    whose password the tenant changed; off where BMC logins are managed elsewhere."""
    switch_run_dir: Path | None = None
    """Run directory of the Open vSwitch whose ports the servers are on; None: no switch."""
    switch_bridge: str = "br0"
    """The Open vSwitch bridge with the servers' ports."""
    switch_provisioner_port: str = "LOCAL"
    """The bridge's port on which the provisioner is, with `netboot_address`; `LOCAL` is the
    bridge's own interface."""

    webhook_allow_http: bool = False
    """Let customers' webhooks go to `http://` addresses too: for labs."""
    webhook_allow_networks: list[IPv4Network | IPv6Network] = []
    """Inner networks that webhooks may go to; otherwise they go to the Internet alone, and to
    `machine_networks`, the netboot network, servers and BMCs in no case."""

    boot_limit_s: float = 900
    """From power-on to a ready ramdisk: real servers take minutes to POST."""
    tenant_boot_limit_s: float = 600
    """From kexec to the tenant's SSH server; once more after a reset by firmware."""
    sanitise_limit_s: float = 6 * 3600
    """For erasing all disks of a server, which goes on at once."""
    claim_ttl_s: float = 30
    """How long a reconciler that died keeps others from its servers."""
    concurrency: int = 64
    """Servers that one process works on at once."""

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
            raise FileNotFoundError(f"IRONLEASE_CONFIG names {named}, and there is no such file")
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, Path(named))

    @model_validator(mode="after")
    def fill_in(self) -> "Settings":
        self.database_url = self.database_url or f"sqlite:///{self.data_dir / 'ironlease.db'}"
        if self.secret_key_file == Path():
            self.secret_key_file = self.data_dir / "secret.key"
        if self.image_dir == Path():
            self.image_dir = self.data_dir / "images"
        return self
