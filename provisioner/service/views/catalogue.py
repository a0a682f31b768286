"""What can be rented: server classes with prices and free servers, and images."""

from decimal import Decimal

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.fleet.inventory import MICRO
from provisioner.rental.reservations import free_servers
from provisioner.service.views.base import View
from provisioner.store.tables import Image, ServerClass


class ClassView(View, title="ServerClass"):
    """A kind of server that can be rented."""

    name: str
    """Name to reserve by."""
    title: str
    """Hardware of the class, in words."""
    price_per_hour: str
    """Price of one server for one hour in `currency`, as a decimal string such as `"17.60"`."""
    currency: str
    """Currency of the price (ISO 4217)."""
    free: int
    """Number of servers that are free now."""


class ImageView(View, title="Image"):
    """An operating system that can be installed on a server."""

    name: str
    """Name to reserve it by."""
    title: str
    """The system and its version, in words."""
    digest: str
    """SHA-256 of the image's manifest, in hexadecimal."""
    size_bytes: int
    """Size of the disk image in bytes."""
    cloud_init: bool
    """Whether user data may be in a format of cloud-init. It may always be a script."""


def decimal_price(micro: int) -> str:
    """Return `1.20` for 1,200,000 millionths: two decimals, or more if needed."""
    price = Decimal(micro) / MICRO
    cents = price.quantize(Decimal("0.01"))
    return str(cents) if cents == price else str(price.normalize())


async def class_views(session: AsyncSession) -> list[ClassView]:
    rows = (await session.exec(select(ServerClass).order_by(col(ServerClass.name)))).all()
    return [
        ClassView(
            name=row.name,
            title=row.title,
            price_per_hour=decimal_price(row.price_micro_per_hour),
            currency=row.currency,
            free=max(0, await free_servers(session, row.name)),
        )
        for row in rows
    ]


def image_view(image: Image) -> ImageView:
    return ImageView(
        name=image.name,
        title=image.title,
        digest=image.digest,
        size_bytes=image.size_bytes,
        cloud_init=bool(image.boot.get("cloud_init", False)),
    )


async def image_views(session: AsyncSession) -> list[ImageView]:
    rows = (await session.exec(select(Image).order_by(col(Image.name)))).all()
    return [image_view(row) for row in rows]
