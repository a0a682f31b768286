"""The catalogue of classes and images, and importing images."""

from typing import Annotated

from pydantic import AfterValidator, Field

from provisioner.catalogue.images import import_image
from provisioner.domain import names
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

SystemPath = Annotated[Line, AfterValidator(names.system_path)]
LoginName = Annotated[Line, AfterValidator(names.login_name)]


class ImageBoot(Body, title="ImageBoot"):
    """How to start an image's system without firmware. Paths are inside its root partition."""

    partition: int = Field(ge=1, le=128)
    """Number of the root partition."""
    kernel: SystemPath
    """Path of the kernel."""
    cmdline: SystemPath
    """Path of the file with the kernel's command line."""
    initrd: SystemPath | None = None
    """Path of the initial ramdisk. Null if the kernel needs none."""
    user: LoginName
    """User that customers log in as."""
    cloud_init: bool = False
    """Whether the system has cloud-init. Without it, user data must be a script."""

    def facts(self) -> BootFacts:
        facts = BootFacts(
            partition=self.partition, kernel=self.kernel, cmdline=self.cmdline, user=self.user
        )
        if self.initrd is not None:
            facts["initrd"] = self.initrd
        if self.cloud_init:
            facts["cloud_init"] = True
        return facts


class NewImage(
    Body,
    title="NewImage",
    json_schema_extra={
        "examples": [
            {
                "path": "debian-12.raw",
                "name": "debian-12",
                "title": "Debian 12",
                "boot": {
                    "partition": 1,
                    "kernel": "/vmlinuz",
                    "initrd": "/initrd.img",
                    "cmdline": "/etc/kernel/cmdline",
                    "user": "root",
                },
            }
        ]
    },
):
    """A disk image to import."""

    path: Line
    """Name of a raw disk image in the import folder on the provisioner's machine."""
    name: Line
    """Name to reserve it by. An existing image of that name is replaced."""
    title: Line
    """The system and its version, in words."""
    boot: ImageBoot
    """How to start the system."""


async def list_classes(call: Call) -> Page[ClassView]:
    """List server classes with their price and the number of free servers."""
    async with call.services.database.read() as session:
        return Page(items=await class_views(session))


async def list_images(call: Call) -> Page[ImageView]:
    """List images that can be installed."""
    async with call.services.database.read() as session:
        return Page(items=await image_views(session))


async def add_image(call: Call, body: NewImage) -> ImageView:
    """Import a raw disk image, or a newer version of one.

    The response is sent once the image is in the library.
    """
    row = await import_image(
        call.services.database,
        call.services.images,
        call.services.image_import_dir,
        body.path,
        name=body.name,
        title=body.title,
        boot=body.boot.facts(),
        actor=call.actor,
        now=call.now(),
    )
    return image_view(row)
