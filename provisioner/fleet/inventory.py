"""Inventory documents: the format in which operators describe sites, classes and servers."""

import re
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyAddress,
    SecretStr,
    WithJsonSchema,
)

from provisioner.domain import names
from provisioner.domain.sanitisation import SanitisationLevel

MICRO = 1_000_000


def _single_line(text: str) -> str:
    if any(not c.isprintable() for c in text):
        raise ValueError("control characters are not allowed here")
    return text


def _price(text: str) -> str:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text):
        raise ValueError('write a price as "1.20": digits, a point, up to six decimals')
    return text


Line = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_single_line)]
Mac = Annotated[str, AfterValidator(names.mac)]
ServerName = Annotated[str, Field(min_length=1, max_length=63), AfterValidator(names.server_name)]
MachineAddress = Annotated[
    str, AfterValidator(names.machine_address), WithJsonSchema({"type": "string", "format": "ipv4"})
]
Count = Annotated[int, Field(strict=True, ge=0, le=1 << 30)]


class _Strict(BaseModel):
    model_config = ConfigDict(
        extra="forbid", populate_by_name=True, frozen=True, use_attribute_docstrings=True
    )


class BmcEntry(_Strict, title="InventoryBmc"):
    """A server's BMC."""

    protocol: Literal["ipmi"] = "ipmi"
    """Management protocol."""
    address: IPvAnyAddress
    """IP address of the BMC."""
    port: int = Field(default=623, strict=True, ge=1, le=65535)
    """UDP port of the BMC. IPMI uses 623."""
    username: Line
    """User to log in as."""
    password: SecretStr = Field(min_length=1, max_length=200)
    """Password of the user. It is stored encrypted and never shown."""


class ExpectedDisk(_Strict, title="ExpectedDisk"):
    """A disk that a server should have."""

    serial: Line
    """Serial number of the disk."""


class ExpectedHardware(_Strict, title="ExpectedHardware"):
    """What a server should have. What is left out is not compared."""

    cpus: Count | None = None
    """Number of logical CPUs."""
    memory_mib: Count | None = None
    """Memory in MiB. 3 % less is tolerated."""
    gpus: Count | None = None
    """Number of GPUs."""
    disks: list[ExpectedDisk] | None = Field(default=None, max_length=200)
    """The disks, no more and no fewer."""
    boot_disk: Line | None = None
    """Serial number of the disk that images are written to. Null for the first disk."""


class ServerEntry(_Strict, title="InventoryServer"):
    """One server: where it is, how it is recognised, and which hardware it should have."""

    name: ServerName
    """Name of the server: letters, digits and hyphens."""
    class_name: Line = Field(alias="class")
    """Class of the server."""
    serial: Line
    """Serial number, as the server's firmware reports it."""
    boot_mac: Mac
    """MAC address of the network card that the server boots from."""
    address: MachineAddress
    """IPv4 address to assign to the server."""
    switch_port: Line | None = None
    """Port of the server on the switch that the provisioner controls. Null if there is none."""
    bmc: BmcEntry
    """The server's BMC."""
    expect: ExpectedHardware = Field(default_factory=ExpectedHardware)
    """Hardware to check for."""


class ClassEntry(_Strict, title="InventoryClass"):
    """A server class."""

    name: Line
    """Name to reserve by."""
    title: Line
    """Hardware of the class, in words."""
    price_per_hour: Annotated[str, AfterValidator(_price)]
    """Price of one server for one hour, as a decimal string."""
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    """Currency of the price (ISO 4217)."""
    sanitisation_floor: SanitisationLevel = SanitisationLevel.CLEAR
    """The weakest sanitisation level that this class accepts."""

    @property
    def price_micro(self) -> int:
        return int(Decimal(self.price_per_hour) * MICRO)


class InventoryDocument(_Strict, title="InventoryDocument"):
    """One rack of a site."""

    site: Line
    """Name of the site."""
    rack: Line
    """Name of the rack."""
    classes: list[ClassEntry] = Field(default_factory=list)
    """Server classes to create or change."""
    servers: list[ServerEntry] = Field(default_factory=list)
    """Servers of the rack."""
