"""Importing images into the library and offering them."""

import asyncio
import errno
from datetime import datetime
from pathlib import Path

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.access import Actor, Permission
from provisioner.domain.refusals import Fault, Refusal, RefusalKind
from provisioner.drivers.images import BootFacts, ImageLibrary, ImageManifest, ImageRefused
from provisioner.store import audit
from provisioner.store.database import Database
from provisioner.store.tables import Image


async def image_named(session: AsyncSession, name: str) -> Image:
    """Raises :class:`Refusal` (unknown_image)."""
    image = (await session.exec(select(Image).where(Image.name == name))).one_or_none()
    if image is None:
        raise Refusal(
            RefusalKind.INVALID,
            "unknown_image",
            f"there is no image {name!r}",
            next_action="choose one from GET /v1/images",
            faults=(Fault("/image", "no such image"),),
        )
    return image


async def import_image(
    database: Database,
    library: ImageLibrary,
    path: Path,
    *,
    name: str,
    title: str,
    boot: BootFacts,
    actor: Actor,
    now: datetime,
) -> Image:
    """Import a raw disk image from this machine. A known name gets the new content from now on.

    Raises :class:`Refusal` (no_such_file, not_an_image, library_full).
    """
    actor.require(Permission.OPERATE)
    manifest = await asyncio.to_thread(_import, library, path, name, title, boot)
    async with database.write() as session:
        image = (await session.exec(select(Image).where(Image.name == name))).one_or_none()
        if image is None:
            image = Image(name=name, title=title, digest="", size_bytes=0, boot={})
            session.add(image)
        image.title = title
        image.digest = manifest.digest
        image.size_bytes = manifest.size_bytes
        image.boot = dict(boot)
        image.imported_at = now
        audit.record(session, actor, "image.import", image.id, now, digest=image.digest)
    return image


def _import(
    library: ImageLibrary, path: Path, name: str, title: str, boot: BootFacts
) -> ImageManifest:
    if not _is_file(path):
        raise _refused(
            RefusalKind.INVALID,
            "no_such_file",
            f"there is no file {str(path)!r} on the provisioner's machine",
            "copy the raw image there first, and give its absolute path",
        )
    try:
        return library.import_raw(path, name, title, boot)
    except ImageRefused as error:
        raise _refused(
            RefusalKind.INVALID, "not_an_image", error.reason, error.next_action
        ) from error
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise _refused(
            RefusalKind.CONFLICT,
            "library_full",
            "the disk of the image library is full; nothing was imported",
            "make room on it, then import again",
        ) from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # longer than a path may be, say
        return False


def _refused(kind: RefusalKind, code: str, reason: str, next_action: str) -> Refusal:
    return Refusal(kind, code, reason, next_action=next_action, faults=(Fault("/path", reason),))
