"""The ramdisk's two files, and images' chunks; sent by the kernel, in ranges if requested."""

import asyncio
import re
from pathlib import Path

from aiohttp import web

from provisioner.drivers.images import ImageCorrupt, ImageMissing
from provisioner.service.context import services_of
from provisioner.service.http.problems import HttpError

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
    library, digest = services_of(request).images, request.match_info["digest"]
    try:
        path = await asyncio.to_thread(library.chunk_path, digest, int(number))
    except ImageMissing as error:
        raise _missing(error) from error
    return _file(path)


def _missing(error: ImageMissing | ImageCorrupt) -> HttpError:
    """Nothing usable is here; asking again would not help."""
    return HttpError(404, "image_missing", error.reason, next_action=error.next_action)


def _file(path: Path) -> web.FileResponse:
    return web.FileResponse(path, headers={"Content-Type": "application/octet-stream"})
