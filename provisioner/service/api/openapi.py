"""OpenAPI 3.1 of `/v1`, made from the table of endpoints: it cannot say anything else."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from types import NoneType
from typing import Any, Literal

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from provisioner.domain.access import least_role
from provisioner.fleet.inventory import InventoryDocument
from provisioner.service.api.endpoints import ENDPOINTS
from provisioner.service.http.endpoint import Endpoint
from provisioner.service.http.problems import CONTENT_TYPE, Problem

_REF = "#/components/schemas/{model}"
_Mode = Literal["validation", "serialization"]
_Schemas = Mapping[tuple[Any, _Mode], dict[str, Any]]


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """The whole document for some endpoints."""
    wanted: list[tuple[type[BaseModel], _Mode]] = [
        (Problem, "serialization"),
        (InventoryDocument, "validation"),
    ]
    for endpoint in endpoints:
        if endpoint.body is not None:
            wanted.append((endpoint.body, "validation"))
        if _has_model(endpoint):
            wanted.append((endpoint.answer, "serialization"))
    schemas, definitions = models_json_schema(wanted, ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.full_path, {})[endpoint.method.lower()] = _operation(
            endpoint, schemas
        )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Ironlease",
            "version": version("ironlease"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": definitions.get("$defs", {}),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _has_model(endpoint: Endpoint) -> bool:
    return isinstance(endpoint.answer, type) and issubclass(endpoint.answer, BaseModel)


def _operation(endpoint: Endpoint, schemas: _Schemas) -> dict[str, Any]:
    summary, _, description = endpoint.summary.partition("\n\n")
    role = least_role(endpoint.permission).value
    operation: dict[str, Any] = {
        "operationId": f"{endpoint.handler.__module__.rpartition('.')[2]}_"
        f"{endpoint.handler.__name__}",
        "summary": summary,
        "description": f"{description.strip()}\n\nRole: {role}.".strip(),
        "tags": [endpoint.path.split("/")[1]],
        "parameters": _parameters(endpoint),
        "responses": {
            str(endpoint.status): _response(endpoint, schemas),
            "default": {
                "description": "A problem (RFC 9457)",
                "content": {CONTENT_TYPE: {"schema": schemas[Problem, "serialization"]}},
            },
        },
    }
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schemas[endpoint.body, "validation"]}},
        }
    return operation


def _response(endpoint: Endpoint, schemas: _Schemas) -> dict[str, Any]:
    if _has_model(endpoint):
        schema = schemas[endpoint.answer, "serialization"]
        return {"description": "Done", "content": {"application/json": {"schema": schema}}}
    if endpoint.answer is NoneType:
        return {"description": "Done; there is nothing to say"}
    return {
        "description": "Server-sent events",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in endpoint.path_names
    ]
    if endpoint.query is not None:
        schema = endpoint.query.model_json_schema(ref_template=_REF)
        definitions = schema.get("$defs", {})
        for name, of in schema["properties"].items():
            found.append({"name": name, "in": "query", "schema": _inlined(of, definitions)})
    return found


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """A parameter's schema without references: enumerations are short."""
    if isinstance(schema, list):
        return [_inlined(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return definitions[schema["$ref"].rpartition("/")[2]]
    return {key: _inlined(value, definitions) for key, value in schema.items()}


@cache
def _served() -> dict[str, Any]:
    return document(ENDPOINTS)


async def openapi(request: web.Request) -> web.Response:
    return web.json_response(_served())
