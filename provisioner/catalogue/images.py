"""Importing images into the library and offering them."""

import asyncio
import errno
from datetime import datetime
from pathlib import Path

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.access import Actor, Permission
from provisioner.domain.refusals import Fault, Refusal, RefusalKind
from provisioner.drivers.images import (
    BootFacts,
    ImageLibrary,
    ImageManifest,
    ImageRefused,
    NotInFolder,
    check_raw_disk,
    opened,
)
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
    folder: Path,
    path: str,
    *,
    name: str,
    title: str,
    boot: BootFacts,
    actor: Actor,
    now: datetime,
) -> Image:
    """Import a raw disk image from the import folder. A known name gets the new content.

    Raises :class:`Refusal` (no_such_file, not_an_image, library_full).
    """
    actor.require(Permission.OPERATE)
    manifest = await asyncio.to_thread(
        _import, library, folder, path, name=name, title=title, boot=boot
    )
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
    library: ImageLibrary, folder: Path, path: str, *, name: str, title: str, boot: BootFacts
) -> ImageManifest:
    try:
        with opened(folder, path) as file:
            check_raw_disk(file, boot["partition"])
            return library.import_file(file, name, title, boot)
    except NotInFolder as error:
        raise _refused(
            RefusalKind.INVALID,
            "no_such_file",
            str(error),
            f"copy the raw image to {folder} on the provisioner's machine, and give its name there",
        ) from error
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


def _refused(kind: RefusalKind, code: str, reason: str, next_action: str) -> Refusal:
    return Refusal(kind, code, reason, next_action=next_action, faults=(Fault("/path", reason),))
