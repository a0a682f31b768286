"""The ramdisk's two files, and the chunks of images; sent by the kernel, in ranges where asked."""

import asyncio
import re
from pathlib import Path

from aiohttp import web

from provisioner.service.problems import HttpError
from provisioner.service.services import services_of

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
    return _file(path, "application/octet-stream")


async def image_manifest(request: web.Request) -> web.StreamResponse:
    path = services_of(request).images.manifest_path(_digest(request))
    return await _image_file(path, "application/json")


async def image_chunk(request: web.Request) -> web.StreamResponse:
    number = request.match_info["number"]
    if not number.isascii() or not number.isdigit() or len(number) > 9:
        raise HttpError(404, "not_found", "chunks of an image are counted from 0")
    path = services_of(request).images.chunk_path(_digest(request), int(number))
    return await _image_file(path, "application/octet-stream")


def _digest(request: web.Request) -> str:
    digest = request.match_info["digest"]
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise HttpError(404, "not_found", "an image is named by the SHA-256 of its manifest")
    return digest


async def _image_file(path: Path, content_type: str) -> web.StreamResponse:
    if not await asyncio.to_thread(path.is_file):
        raise HttpError(
            404,
            "no_such_image",
            "the library has no such image, or no such chunk of it",
            next_action="import the image again",
        )
    return _file(path, content_type)


def _file(path: Path, content_type: str) -> web.FileResponse:
    return web.FileResponse(path, headers={"Content-Type": content_type})
