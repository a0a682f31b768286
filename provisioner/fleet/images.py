"""Take an image into the library and put it on offer."""

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from sqlmodel import select

from provisioner.domain.refusals import Fault, Refusal, RefusalKind
from provisioner.store import audit
from provisioner.store.database import Database
from provisioner.store.tables import Image


class ImageManifest(Protocol):
    @property
    def digest(self) -> str: ...

    @property
    def size_bytes(self) -> int: ...


class ImageLibrary(Protocol):
    """What the service needs of the library of images."""

    def import_raw(
        self, path: Path, name: str, title: str, boot: dict[str, Any]
    ) -> ImageManifest: ...

    def manifest_path(self, digest: str) -> Path: ...

    def chunk_path(self, digest: str, number: int) -> Path: ...


async def import_image(
    database: Database,
    library: ImageLibrary,
    path: Path,
    *,
    name: str,
    title: str,
    boot: dict[str, Any],
    actor: str,
    now: datetime,
) -> Image:
    """Import a raw disk image of this machine. A known name gets the new content from now on.

    Raises :class:`Refusal` (no_such_file) and what the library raises.
    """
    if not await asyncio.to_thread(path.is_file):
        reason = f"there is no file {str(path)!r} on the provisioner's machine"
        raise Refusal(
            RefusalKind.INVALID,
            "no_such_file",
            reason,
            next_action="copy the raw image there first, and give its absolute path",
            faults=(Fault("/path", reason),),
        )
    manifest = await asyncio.to_thread(library.import_raw, path, name, title, boot)
    async with database.write() as session:
        image = (await session.exec(select(Image).where(Image.name == name))).one_or_none()
        if image is None:
            image = Image(name=name, title=title, digest="", size_bytes=0, boot=boot)
            session.add(image)
        image.title = title
        image.digest = manifest.digest
        image.size_bytes = manifest.size_bytes
        image.boot = boot
        image.imported_at = now
        audit.record(session, actor, "image.import", image.id, now, digest=image.digest)
    return image
