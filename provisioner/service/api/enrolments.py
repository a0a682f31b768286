"""Enrols servers from inventory documents."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from provisioner.fleet.enrolment import enrol
from provisioner.fleet.inventory import InventoryDocument
from provisioner.service.http.endpoint import Body, Call
from provisioner.service.views.base import View

Document = Annotated[
    Any, WithJsonSchema({"$ref": f"#/components/schemas/{InventoryDocument.__name__}"})
]
"""Accepted as it is: enrolment validates it piece by piece, so as to report every fault at once."""


class EnrolmentRequest(
    Body,
    title="EnrolmentRequest",
    json_schema_extra={
        "examples": [
            {
                "documents": [
                    {
                        "site": "example",
                        "rack": "a1",
                        "classes": [
                            {
                                "name": "8x-h100-80gb",
                                "title": "8 x H100 80 GB",
                                "price_per_hour": "17.60",
                                "currency": "EUR",
                            }
                        ],
                        "servers": [
                            {
                                "name": "a1-u04",
                                "class": "8x-h100-80gb",
                                "serial": "EX0A1U04",
                                "boot_mac": "02:00:00:0a:01:04",
                                "address": "192.0.2.4",
                                "bmc": {
                                    "address": "198.51.100.4",
                                    "username": "ironlease",
                                    "password": "secret",
                                },
                            }
                        ],
                    }
                ]
            }
        ]
    },
):
    """Racks to enrol."""

    documents: list[Document] = Field(min_length=1, max_length=1000)
    """Inventory documents, one for each rack of a site."""


class EnrolmentQuery(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    dry_run: bool = False
    """Check and report, but change nothing."""


class EnrolmentView(View, title="EnrolmentResult"):
    """Outcome of an enrolment for each server."""

    created: list[str]
    """Names of the servers that were added."""
    updated: list[str]
    """Names of the servers that were changed."""
    unchanged: list[str]
    """Names of the servers that were already enrolled like this."""


async def create(call: Call, body: EnrolmentRequest, query: EnrolmentQuery) -> EnrolmentView:
    """Enrol servers, or change enrolled ones.

    Either all documents are accepted or none is. Every fault is reported.
    """
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
