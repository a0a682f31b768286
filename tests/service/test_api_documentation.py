"""The document of the API: names that are its own, a description of everything, kept in docs/."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from documented import watch_answers
from openapi_spec_validator import validate
from pydantic import BaseModel
from service_factories import Factory

from provisioner.domain.access import Role, least_role
from provisioner.fleet.inventory import InventoryDocument
from provisioner.service.api.endpoints import ENDPOINTS
from provisioner.service.api.notes import NOTES, Notes
from provisioner.service.api.openapi import served
from provisioner.service.api.schemas import NoPublicName, schemas
from provisioner.service.app import make_app
from provisioner.service.views.base import View

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENT = served()
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
OPERATIONS: dict[str, Any] = {
    operation["operationId"]: operation
    for item in DOCUMENT["paths"].values()
    for operation in item.values()
}
BODIES = sorted({e.body for e in ENDPOINTS if e.body}, key=lambda body: body.__name__)


def dictionaries(value: Any) -> Iterator[dict[str, Any]]:
    """Every dictionary in a JSON value."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from dictionaries(item)


def test_the_document_is_valid():
    validate(DOCUMENT)


def test_the_document_is_kept_in_the_repository():
    kept = json.dumps(DOCUMENT, ensure_ascii=False, indent=2) + "\n"
    assert (DOCS / "openapi.json").read_text() == kept, "run `make docs`"


async def test_the_document_is_served_to_anybody(anybody):
    assert await (await anybody.get("/openapi.json")).json() == DOCUMENT


def test_every_reference_leads_to_something_that_is_there():
    for each in dictionaries(DOCUMENT):
        if "$ref" in each:
            found: Any = DOCUMENT
            for part in each["$ref"].removeprefix("#/").split("/"):
                found = found[part]


def test_an_operation_is_named_by_a_verb_and_what_it_is_about():
    verbs = "get list create delete set stream import extend swap release test enrol retry close"
    verbs += " disable enable acknowledge assign"
    assert [
        o for o in OPERATIONS if not re.fullmatch(rf"({'|'.join(verbs.split())})[A-Z]\w+", o)
    ] == []
    assert len(OPERATIONS) == len(ENDPOINTS)
    assert NOTES.keys() <= OPERATIONS.keys()


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schemas_name_comes_from_no_module_and_no_generic(name):
    assert re.fullmatch(r"([A-Z][a-z]+|GPUs?)+", name)
    assert not name.endswith("View")
    assert SCHEMAS[name]["title"] == name


def test_two_classes_cannot_claim_one_name():
    class One(View, title="Twin"):
        """One."""

    class Other(View, title="Twin"):
        """Another."""

    with pytest.raises(NoPublicName, match="two schemas claim one name"):
        schemas([(One, "serialization"), (Other, "serialization")])


def test_a_model_without_a_title_is_refused():
    class Nameless(View):
        """No title."""

    with pytest.raises(NoPublicName, match="Nameless"):
        schemas([(Nameless, "serialization")])


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_and_property_is_described(name):
    described = {name: SCHEMAS[name], **SCHEMAS[name].get("properties", {})}
    assert [key for key, of in described.items() if not sentence(of.get("description", ""))] == []


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_and_parameter_is_described(name):
    operation = OPERATIONS[name]
    texts = [operation["summary"], operation.get("description", "Nothing to add.")]
    texts += [each["description"] for each in operation["parameters"]]
    texts += [each["description"] for each in operation["responses"].values() if "$ref" not in each]
    assert [text for text in texts if not sentence(text)] == []


def sentence(text: str) -> bool:
    return bool(re.fullmatch(r"(?s)(`|[A-Z]).*\.", text))


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_every_body_has_an_example_that_is_taken(body: type[BaseModel]):
    (example,) = SCHEMAS[str(body.model_config["title"])]["examples"]
    taken = body.model_validate_json(json.dumps(example))
    for document in getattr(taken, "documents", ()):
        InventoryDocument.model_validate(document)


def test_whatever_is_null_says_when():
    for name, schema in SCHEMAS.items():
        if "required" not in schema or name.startswith(("New", "Inventory", "Image", "BmcAccess")):
            continue
        for key, of in schema["properties"].items():
            if {"type": "null"} in of.get("anyOf", ()):
                assert "ull" in of["description"], f"{name}.{key}"


def test_every_operation_names_the_least_role_that_may_call_it():
    roles = {name: operation["security"] for name, operation in OPERATIONS.items()}
    assert roles["createReservation"] == [{"token": ["customer"]}]
    assert roles["listServers"] == [{"token": ["operator"]}]
    assert {e.operation_id: least_role(e.permission).value for e in ENDPOINTS} == {
        name: security[0]["token"][0] for name, security in roles.items()
    }


def test_every_error_is_a_problem_and_says_who_may_try_again():
    for operation in OPERATIONS.values():
        for status in ("400", "401", "429", "500", "503"):
            assert status in operation["responses"]
        assert "Retry-After" in operation["responses"]["503"]["headers"]
    responses = DOCUMENT["components"]["responses"]
    assert "WWW-Authenticate" in responses["unauthenticated"]["headers"]
    assert "Retry-After" in responses["too_many_connections"]["headers"]
    for response in responses.values():
        schema = response["content"]["application/problem+json"]["schema"]
        assert schema == {"$ref": "#/components/schemas/Problem"}


def test_headers_and_events_are_described():
    def headers(name):
        return [p["name"] for p in OPERATIONS[name]["parameters"] if p["in"] == "header"]

    assert headers("createReservation") == headers("extendReservation") == ["Idempotency-Key"]
    assert headers("streamOperationEvents") == ["Last-Event-ID"]
    stream = OPERATIONS["streamOperationEvents"]["responses"]["200"]["content"]["text/event-stream"]
    assert stream["x-events"] == {
        "log": {"$ref": "#/components/schemas/LogLine"},
        "operation": {"$ref": "#/components/schemas/OperationDetail"},
    }


def test_whatever_a_path_needs_has_an_example():
    for operation in OPERATIONS.values():
        needed = [each for each in operation["parameters"] if each.get("required")]
        assert all(each["in"] == "path" and each["example"] for each in needed)


def test_every_stream_names_its_events():
    streams = {e.operation_id for e in ENDPOINTS if e.hints["return"].__name__ == "StreamResponse"}
    assert streams == {name for name, notes in NOTES.items() if notes.events}


def test_every_tag_is_used_and_described():
    used = {tag for operation in OPERATIONS.values() for tag in operation["tags"]}
    assert used == {tag["name"] for tag in DOCUMENT["tags"] if sentence(tag["description"])}


async def test_an_answer_that_is_not_in_the_document_is_noticed(services, monkeypatch):
    monkeypatch.setitem(NOTES, "createServerRequest", Notes())
    app = make_app(services)
    undocumented = watch_answers(app)
    make = Factory(services)
    await make.stock()
    _, token = await make.account("operator", Role.OPERATOR)
    async with TestClient(TestServer(app), headers={"Authorization": f"Bearer {token}"}) as client:
        await client.post("/v1/servers/r1-u01/requests", json={"verb": "resume"})
    assert [text.partition(" {")[0] for text in undocumented] == ["createServerRequest: 409"]
