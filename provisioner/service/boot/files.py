"""The ramdisk's two files, and images' chunks; sent by the kernel, in ranges if requested."""

import asyncio
import re
from pathlib import Path

from aiohttp import web

from provisioner.domain.image_pass import ImagePass
from provisioner.domain.lifecycle import Step
from provisioner.drivers.images import ImageCorrupt, ImageMissing
from provisioner.service.context import services_of
from provisioner.service.http.bearer import bearer
from provisioner.service.http.problems import HttpError
from provisioner.store.secrets import SecretUnreadable
from provisioner.store.tables import Operation

_BOOT_FILES = ("vmlinuz", "ramdisk.img")


async def boot_file(request: web.Request) -> web.StreamResponse:
    name = request.match_info["name"]
    if name not in _BOOT_FILES:
        raise HttpError(404, "not_found", f"the files here are {' and '.join(_BOOT_FILES)}")
    path = services_of(request).ramdisk_dir / name
    if not await asyncio.to_thread(path.is_file):
        raise HttpError(
            404,
            "no_ramdisk",
            f"the deploy ramdisk has no {name}",
            next_action="build the deploy ramdisk and point the service's settings to it",
        )
    return _file(path)


async def image_manifest(request: web.Request) -> web.Response:
    """Send the exact bytes that the image's digest covers."""
    await _require_imaging(request)
    library = services_of(request).images
    try:
        text = await asyncio.to_thread(library.manifest_json, request.match_info["digest"])
    except (ImageMissing, ImageCorrupt) as error:
        raise _missing(error) from error
    return web.Response(body=text, content_type="application/json")


async def image_chunk(request: web.Request) -> web.StreamResponse:
    number = request.match_info["number"]
    if not re.fullmatch(r"[0-9]{1,9}", number):
        raise HttpError(404, "not_found", "an image's chunks are numbered from 0")
    await _require_imaging(request)
    library, digest = services_of(request).images, request.match_info["digest"]
    try:
        path = await asyncio.to_thread(library.chunk_path, digest, int(number))
    except ImageMissing as error:
        raise _missing(error) from error
    return _file(path)


async def _require_imaging(request: web.Request) -> None:
    """An image is only for the servers that are writing it: it may hold what its site keeps secret.

    Raises HttpError (401, 403).
    """
    services = services_of(request)
    try:
        shown = ImagePass.from_json(services.secret_box.open(bearer(request)))
    except (SecretUnreadable, ValueError) as error:
        raise _not_imaging() from error
    async with services.database.read() as session:
        operation = await session.get(Operation, shown.operation)
    if operation is None or operation.ended_at or operation.step is not Step.WRITE_IMAGE:
        raise _not_imaging()
    if shown.digest != request.match_info["digest"]:
        raise _not_imaging()


def _not_imaging() -> HttpError:
    return HttpError(
        403,
        "not_imaging",
        "an image is sent only to a server while it writes it",
        next_action="none is needed: the provisioner gives a server its pass when it is imaged",
    )


def _missing(error: ImageMissing | ImageCorrupt) -> HttpError:
    """Nothing usable is here; asking again would not help."""
    return HttpError(404, "image_missing", error.reason, next_action=error.next_action)


def _file(path: Path) -> web.FileResponse:
    return web.FileResponse(path, headers={"Content-Type": "application/octet-stream"})
