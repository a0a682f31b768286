"""What no table may hold is refused by both databases alike, whichever way it comes."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import bindparam, update
from sqlmodel import SQLModel, col, select

from provisioner.domain.storable import Unstorable
from provisioner.store.columns import JsonText, utc_now
from provisioner.store.database import Database
from provisioner.store.tables import Account, AuditEvent, Operation, StepLog

NUL, HALF = "a\0b", "a\ud800b"
AUDIT = SQLModel.metadata.tables["audit_event"]


def event(**values: Any) -> AuditEvent:
    return AuditEvent(**{"actor": "a", "action": "b", "subject": "s", **values})


ROWS: list[dict[str, Any]] = [
    {"actor": NUL},
    {"subject": HALF},
    {"action": "x" * (1 << 21)},
    {"detail": {"a": NUL}},
    {"detail": {NUL: 1}},
    {"detail": {"a": [{"b": HALF}]}},
    {"detail": {"a": float("nan")}},
    {"detail": {"a": float("-inf")}},
    {"detail": {"a": 1 << 63}},
]


async def test_a_row_with_it_is_refused_by_the_name_of_its_column(any_database: Database) -> None:
    for values in ROWS:
        with pytest.raises(Unstorable, match=next(iter(values))):
            async with any_database.write() as session:
                session.add(event(**values))
    async with any_database.read() as session:
        assert (await session.exec(select(AuditEvent))).all() == []


async def test_a_statement_with_it_is_refused(any_database: Database) -> None:
    async with any_database.write() as session:
        session.add(event())
    at = utc_now() + timedelta(days=1)
    for statement in (
        update(AuditEvent).values(actor=NUL),
        update(AuditEvent).values(detail={"a": HALF}),
        update(AUDIT).values(at=at, subject=HALF),
        select(AuditEvent).where(AuditEvent.subject == NUL),
        select(AuditEvent).where(col(AuditEvent.subject).in_(["a", HALF])),
    ):
        with pytest.raises(Unstorable):
            async with any_database.write() as session:
                await session.exec(statement)  # type: ignore[call-overload]
    with pytest.raises(Unstorable):
        async with any_database.write() as session:
            await session.exec(
                AUDIT.insert(),  # type: ignore[call-overload]
                params=[event(subject=text).model_dump() for text in ("good", NUL)],
            )
    async with any_database.read() as session:
        (row,) = (await session.exec(select(AuditEvent))).all()
    assert (row.actor, row.subject, row.detail) == ("a", "s", {})


async def test_json_that_is_text_already_is_no_way_around(any_database: Database) -> None:
    async with any_database.write() as session:
        session.add(event())
    statement = update(AUDIT).values(detail=bindparam("said", type_=JsonText))

    async def write(text: str) -> None:
        async with any_database.write() as session:
            await session.exec(statement, params={"said": text})  # type: ignore[call-overload]

    for escaped in (r'{"a": "\u0000"}', r'{"a": "\\\u0000"}'):
        with pytest.raises(Unstorable):
            await write(escaped)
    for text in (r'{"a": "\\u0000"}', r'{"a": "\u0001"}'):
        await write(text)


async def test_a_number_that_does_not_fit_its_column_is_refused(any_database: Database) -> None:
    with pytest.raises(Unstorable, match="boots"):
        async with any_database.write() as session:
            await session.exec(update(Operation).values(boots=1 << 31))


async def test_one_bad_row_keeps_no_later_one_from_being_written(any_database: Database) -> None:
    with pytest.raises(Unstorable):
        async with any_database.write() as session:
            session.add(Account(name="Ada", email="a@example.com"))
            session.add(StepLog(operation_id="op", step="power_off", text=NUL))
    async with any_database.write() as session:
        session.add(Account(name="Ada", email="a@example.com"))
    async with any_database.read() as session:
        assert len((await session.exec(select(Account))).all()) == 1
