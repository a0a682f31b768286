"""The audit trail, with the names of those who act and of what they act on."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement
from sqlmodel import col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.service.views.base import Page, PageQuery, View, begins, page
from provisioner.store.tables import Account, AuditEvent, Reservation, Server


class AuditView(View, title="AuditEvent"):
    """One entry of the audit trail."""

    id: str
    """Identifier of the entry."""
    at: datetime
    """When it happened."""
    actor: str
    """Who did it, such as `account:acc_…`."""
    actor_name: str
    """E-mail address of the account, or name of the server. Empty if it has none."""
    action: str
    """What was done, such as `reservation.extend`."""
    subject: str
    """Identifier of what it was done to."""
    subject_name: str
    """E-mail address, host name or server name of the subject. Empty if it has none."""
    detail: dict[str, Any]
    """Details that depend on the action."""


class AuditQuery(PageQuery):
    subject: str | None = None
    """Only entries about this object: its identifier or the beginning of it, a server's name, a
    reservation's host name, or an account's e-mail address."""


_NAMED = {
    "srv": (Server.id, Server.name),
    "res": (Reservation.id, Reservation.hostname),
    "acc": (Account.id, Account.email),
}
"""Identifier and name of each kind of subject that has one, by the identifier's prefix."""


async def audit_page(session: AsyncSession, query: AuditQuery) -> Page[AuditView]:
    """The newest first."""
    statement = select(AuditEvent).order_by(col(AuditEvent.id).desc()).limit(query.fetch)
    if query.subject:
        statement = statement.where(_about(query.subject))
    if query.cursor is not None:
        statement = statement.where(col(AuditEvent.id) < query.cursor)
    rows = (await session.exec(statement)).all()
    shown, following = page(query, rows, lambda row: row.id)
    names = await _names(session, shown)
    return Page(items=[_view(row, names) for row in shown], next=following)


def _about(subject: str) -> ColumnElement[bool]:
    named = (
        col(AuditEvent.subject).in_(select(identifier).where(col(name) == subject))
        for identifier, name in _NAMED.values()
    )
    return or_(begins(AuditEvent.subject, subject), *named)


def _actor_id(row: AuditEvent) -> str:
    """`acc_…` of `account:acc_…`."""
    return row.actor.partition(":")[2]


async def _names(session: AsyncSession, rows: Sequence[AuditEvent]) -> dict[str, str]:
    """The names of all actors and subjects that have one, by identifier."""
    ids = {row.subject for row in rows} | {_actor_id(row) for row in rows}
    names: dict[str, str] = {}
    for prefix, (identifier, name) in _NAMED.items():
        wanted: Collection[str] = [each for each in ids if each.startswith(f"{prefix}_")]
        found = await session.exec(select(identifier, name).where(col(identifier).in_(wanted)))
        names.update(found.all())
    return names


def _view(row: AuditEvent, names: dict[str, str]) -> AuditView:
    return AuditView(
        id=row.id,
        at=row.at,
        actor=row.actor,
        actor_name=names.get(_actor_id(row), ""),
        action=row.action,
        subject=row.subject,
        subject_name=names.get(row.subject, ""),
        detail=row.detail,
    )
