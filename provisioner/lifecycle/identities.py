"""Revoking agents' identities: every revocation goes through here, so that all processes see it."""

from datetime import datetime

from sqlalchemy import ColumnElement, update
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.store.changes import change_number
from provisioner.store.tables import AgentIdentity


async def revoke_identities(
    session: AsyncSession, server_id: str, *where: ColumnElement[bool], now: datetime
) -> None:
    """Revoke the server's identities for which `where` holds: the system that has them is gone."""
    await session.exec(
        update(AgentIdentity)
        .where(
            col(AgentIdentity.server_id) == server_id,
            col(AgentIdentity.revoked_at).is_(None),
            *where,
        )
        .values(revoked_at=now, changed_in=change_number())
    )
