"""What can be rented; importing images."""

from pathlib import Path

from pydantic import Field

from provisioner.catalogue.images import import_image
from provisioner.drivers.images import BootFacts
from provisioner.fleet.inventory import Line
from provisioner.service.http.endpoint import Body, Call
from provisioner.service.views.base import Page
from provisioner.service.views.catalogue import (
    ClassView,
    ImageView,
    class_views,
    image_view,
    image_views,
)


class ImageBoot(Body):
    """How the image's system is started without firmware; paths are inside its root partition."""

    partition: int = Field(ge=1, le=128)
    kernel: Line
    cmdline: Line
    """File that holds the kernel's command line."""
    initrd: Line | None = None
    user: Line
    """Who the customer logs in as."""

    def facts(self) -> BootFacts:
        facts = BootFacts(
            partition=self.partition, kernel=self.kernel, cmdline=self.cmdline, user=self.user
        )
        if self.initrd is not None:
            facts["initrd"] = self.initrd
        return facts


class NewImage(Body):
    path: Line
    """A raw disk image on the provisioner's machine."""
    name: Line
    title: Line
    boot: ImageBoot


async def list_classes(call: Call) -> Page[ClassView]:
    """Server classes with their price and how many are free now"""
    async with call.services.database.read() as session:
        return Page(items=await class_views(session))


async def list_images(call: Call) -> Page[ImageView]:
    """Images that can be put on a server"""
    async with call.services.database.read() as session:
        return Page(items=await image_views(session))


async def add_image(call: Call, body: NewImage) -> ImageView:
    """Import a raw disk image, or a newer version of one; answers when it is in the library"""
    row = await import_image(
        call.services.database,
        call.services.images,
        Path(body.path),
        name=body.name,
        title=body.title,
        boot=body.boot.facts(),
        actor=call.actor,
        now=call.now(),
    )
    return image_view(row)
