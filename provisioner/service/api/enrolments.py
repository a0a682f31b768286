"""Enrolment of servers from inventory documents."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from provisioner.fleet.enrolment import enrol
from provisioner.fleet.inventory import InventoryDocument
from provisioner.service.http.endpoint import Body, Call
from provisioner.service.views.base import View

Document = Annotated[
    Any, WithJsonSchema({"$ref": f"#/components/schemas/{InventoryDocument.__name__}"})
]
"""Taken as it is: enrolment reads it piece by piece, so that it can name every fault at once."""


class EnrolmentRequest(Body):
    documents: list[Document] = Field(min_length=1, max_length=1000)


class EnrolmentQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    dry_run: bool = False
    """Check and report, change nothing."""


class EnrolmentView(View):
    created: list[str]
    updated: list[str]
    unchanged: list[str]


async def create(call: Call, body: EnrolmentRequest, query: EnrolmentQuery) -> EnrolmentView:
    """Enrol servers, or bring them up to date; all of the documents or nothing"""
    database = call.services.database
    async with database.read() if query.dry_run else database.write() as session:
        result = await enrol(
            session,
            body.documents,
            call.services.secret_box,
            actor=call.actor,
            now=call.now(),
            dry_run=query.dry_run,
        )
    return EnrolmentView(created=result.created, updated=result.updated, unchanged=result.unchanged)
