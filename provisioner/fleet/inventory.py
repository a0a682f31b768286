"""Inventory documents: the form in which operators write down sites, classes and servers."""

import re
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, IPvAnyAddress, SecretStr

from provisioner.domain import names
from provisioner.domain.sanitisation import SanitisationLevel

MICRO = 1_000_000


def _single_line(text: str) -> str:
    if any(not c.isprintable() for c in text):
        raise ValueError("control characters are not allowed here")
    return text


def _server_name(text: str) -> str:
    if "." in text:
        raise ValueError("a server's name has no dots")
    return names.hostname(text)


def _price(text: str) -> str:
    if not re.fullmatch(r"\d{1,9}(\.\d{1,6})?", text):
        raise ValueError('a price is written as "1.20": digits, a point, up to six decimals')
    return text


Line = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_single_line)]
Mac = Annotated[str, AfterValidator(names.mac)]
ServerName = Annotated[str, Field(min_length=1, max_length=63), AfterValidator(_server_name)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True, frozen=True)


class BmcEntry(_Strict):
    """A server's BMC. `port` 623 is IPMI's."""

    protocol: Literal["ipmi"] = "ipmi"
    address: IPvAnyAddress
    port: int = Field(default=623, ge=1, le=65535)
    username: Line
    password: SecretStr = Field(min_length=1, max_length=200)


class ServerEntry(_Strict):
    """One server: where it is, how it is recognised, and what it should have."""

    name: ServerName
    class_name: Line = Field(alias="class")
    serial: Line
    boot_mac: Mac
    address: IPvAnyAddress
    switch_port: Line | None = None
    """Its port on the switch that the provisioner controls."""
    bmc: BmcEntry
    expect: dict[str, Any] = Field(default_factory=dict)


class ClassEntry(_Strict):
    """A server class; `price_per_hour` is a decimal number in text, never a float."""

    name: Line
    title: Line
    price_per_hour: Annotated[str, AfterValidator(_price)]
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    sanitisation_floor: SanitisationLevel = SanitisationLevel.CLEAR

    @property
    def price_micro(self) -> int:
        return int(Decimal(self.price_per_hour) * MICRO)


class InventoryDocument(_Strict):
    """One rack of a site."""

    site: Line
    rack: Line
    classes: list[ClassEntry] = Field(default_factory=list)
    servers: list[ServerEntry] = Field(default_factory=list)
