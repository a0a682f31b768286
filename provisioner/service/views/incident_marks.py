"""What operators have written on incidents: acknowledged, assigned to somebody, noted."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.service.views.base import View
from provisioner.store.tables import Account, Incident, IncidentNote


class IncidentNoteView(View, title="IncidentNote"):
    """What an operator noted on an incident."""

    at: datetime
    """When it was written."""
    author: str
    """Name of who wrote it."""
    text: str
    """The note."""


class IncidentMarks(NamedTuple):
    names: Mapping[str | None, str]
    """Names of accounts by their identifier."""
    notes: Mapping[str, list[IncidentNoteView]]
    """Notes by incident, oldest first."""


async def marks_of(session: AsyncSession, rows: Sequence[Incident]) -> IncidentMarks:
    """Read what is written on these incidents in two queries."""
    found = await session.exec(
        select(IncidentNote)
        .where(col(IncidentNote.incident_id).in_([row.id for row in rows]))
        .order_by(col(IncidentNote.id))
    )
    noted = found.all()
    people = {row.acknowledged_by for row in rows} | {row.assignee_id for row in rows}
    people |= {note.account_id for note in noted}
    accounts = await session.exec(
        select(Account.id, Account.name).where(col(Account.id).in_(people - {None}))
    )
    names: dict[str | None, str] = {None: "Ironlease", **dict(accounts.all())}
    notes: dict[str, list[IncidentNoteView]] = {}
    for note in noted:
        view = IncidentNoteView(at=note.at, author=names[note.account_id], text=note.text)
        notes.setdefault(note.incident_id, []).append(view)
    return IncidentMarks(names, notes)
