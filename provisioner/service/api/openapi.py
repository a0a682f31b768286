"""OpenAPI 3.1 document of `/v1`, generated from the table of endpoints.

Run as a program, it prints the document as kept in docs/openapi.json.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

from aiohttp import web
from pydantic import BaseModel

from provisioner.domain.access import Role, least_role
from provisioner.fleet.inventory import InventoryDocument
from provisioner.service.api.endpoints import ENDPOINTS
from provisioner.service.api.notes import NOTES, PATH_PARAMETERS, Notes
from provisioner.service.api.schemas import Mode, query_parameters, schemas
from provisioner.service.http.endpoint import Endpoint
from provisioner.service.http.problem_codes import CODES, STATUSES
from provisioner.service.http.problems import CONTENT_TYPE, Problem, answer

_DESCRIPTION = """\
Rent whole GPU servers, and operate the fleet behind them.

Every request carries an API token: `Authorization: Bearer TOKEN`. Each operation names the least \
privileged role that may call it: `customer`, `operator` or `admin`.

Times are RFC 3339 in UTC, durations are in seconds, and prices are decimal strings.

Lists are paginated: `next` is the cursor of the next page, to be sent as `cursor`. It is null on \
the last page.

Errors are problems (RFC 9457). `code` is stable and for programs; `detail` and `next_action` are \
for people."""


@dataclass(frozen=True, slots=True)
class _Tag:
    name: str
    description: str
    paths: tuple[str, ...]
    """First segments of the paths that belong to it."""


_TAGS = (
    _Tag("Account", "Your account, its API tokens and SSH keys.", ("me", "tokens", "ssh-keys")),
    _Tag("Catalogue", "What can be rented.", ("classes", "images")),
    _Tag("Reservations", "Reserve a server, follow it, give it back.", ("reservations",)),
    _Tag("Webhook", "Messages to your own programs.", ("webhook",)),
    _Tag("Servers", "The fleet: enrolment, state, BMC and health.", ("servers", "enrolments")),
    _Tag("GPUs", "GPUs of all servers.", ("gpus",)),
    _Tag("Operations", "Work on servers, with its steps and logs.", ("operations",)),
    _Tag("Incidents", "Failures that need attention.", ("incidents",)),
    _Tag("Status", "Status of the service itself.", ("status",)),
    _Tag("Accounts", "Accounts of customers and operators.", ("accounts",)),
    _Tag("Audit", "Who did what, and when.", ("audit",)),
)
_TAG_OF = {path: tag.name for tag in _TAGS for path in tag.paths}

_ANY_REQUEST = {
    400: ("bad_request",),
    401: ("unauthenticated",),
    408: ("too_slow",),
    415: ("unsupported_media_type",),
    429: ("too_many_connections",),
    500: ("internal_error",),
    503: ("no_database", "overloaded"),
}
_ANY_BODY = {
    400: ("malformed_json",),
    413: ("too_large",),
    422: ("invalid_request",),
}
_ANY_STREAM = {429: ("too_many_streams",)}
_RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds to wait before the next attempt.",
        "schema": {"type": "integer"},
    }
}
_HEADERS = {
    401: {
        "WWW-Authenticate": {
            "description": "The authentication scheme: `Bearer`.",
            "schema": {"type": "string"},
        }
    },
    429: _RETRY_AFTER,
    503: _RETRY_AFTER,
}


def problems_of(endpoint: Endpoint) -> dict[int, tuple[str, ...]]:
    """Return the codes of the problems that an endpoint may answer with, by status."""
    sources = [_ANY_REQUEST, NOTES.get(endpoint.operation_id, Notes()).problems]
    if least_role(endpoint.permission) is not Role.CUSTOMER:
        sources.append({403: ("forbidden",)})
    if endpoint.body is not None:
        sources.append(_ANY_BODY)
    if NOTES.get(endpoint.operation_id, Notes()).events:
        sources.append(_ANY_STREAM)
    if endpoint.query is not None:
        sources.append({422: ("invalid_request",)})
    if endpoint.path_names:
        sources.append({404: (PATH_PARAMETERS[_beginning(endpoint)].unknown,)})
    found: dict[int, dict[str, None]] = {}
    for source in sources:
        for status, codes in source.items():
            found.setdefault(status, {}).update(dict.fromkeys(codes))
    return {status: tuple(found[status]) for status in sorted(found)}


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """Return the whole document for some endpoints."""
    references, components = schemas(_models(endpoints))
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.full_path, {})[endpoint.method.lower()] = _operation(
            endpoint, references
        )
    problems = {problem for endpoint in endpoints for problem in problems_of(endpoint).items()}
    examples = {(status, code) for status, codes in problems for code in codes}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Ironlease",
            "summary": "Bare-metal GPU servers, on demand.",
            "description": _DESCRIPTION,
            "version": version("ironlease"),
            "contact": {"name": "The operators of this site"},
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The site that serves this document."}],
        "security": [{"token": []}],
        "tags": [{"name": tag.name, "description": tag.description} for tag in _TAGS],
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": {
                _problem_name(status, codes[0]): _problem(status, codes, references[Problem])
                for status, codes in sorted(problems)
                if len(codes) == 1
            },
            "examples": {_problem_name(*key): _example(*key) for key in sorted(examples)},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API token, created by an operator. Each operation names "
                    "the least privileged role that may call it.",
                }
            },
        },
    }


def _models(endpoints: Sequence[Endpoint]) -> list[tuple[type[BaseModel], Mode]]:
    wanted: list[tuple[type[BaseModel], Mode]] = [
        (Problem, "serialization"),
        (InventoryDocument, "validation"),
    ]
    for endpoint in endpoints:
        if endpoint.body is not None:
            wanted.append((endpoint.body, "validation"))
        if endpoint.answer_model is not None:
            wanted.append((endpoint.answer_model, "serialization"))
        events = NOTES.get(endpoint.operation_id, Notes()).events
        wanted += [(model, "serialization") for model in events.values()]
    return wanted


def _operation(
    endpoint: Endpoint, references: dict[type[BaseModel], dict[str, Any]]
) -> dict[str, Any]:
    summary, _, description = endpoint.summary.partition("\n\n")
    text = " ".join(description.split())
    operation: dict[str, Any] = {
        "operationId": endpoint.operation_id,
        "summary": " ".join(summary.split()),
        **({"description": text} if text else {}),
        "tags": [_TAG_OF[endpoint.path.split("/")[1]]],
        "security": [{"token": [least_role(endpoint.permission).value]}],
        "parameters": _parameters(endpoint),
    }
    if endpoint.body is not None:
        schema = references[endpoint.body]
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema}},
        }
    operation["responses"] = {
        str(endpoint.status): _answer(endpoint, references),
        **{
            str(status): {"$ref": f"#/components/responses/{_problem_name(status, codes[0])}"}
            if len(codes) == 1
            else _problem(status, codes, references[Problem])
            for status, codes in problems_of(endpoint).items()
        },
    }
    return operation


def _answer(
    endpoint: Endpoint, references: dict[type[BaseModel], dict[str, Any]]
) -> dict[str, Any]:
    if endpoint.answer_model is not None:
        schema = references[endpoint.answer_model]
        return {"description": "Done.", "content": {"application/json": {"schema": schema}}}
    events = NOTES.get(endpoint.operation_id, Notes()).events
    if not events:
        return {"description": "Done; the response has no body."}
    return {
        "description": "Server-sent events; the data of each is JSON.",
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "x-events": {name: references[model] for name, model in events.items()},
            }
        },
    }


def _problem(status: int, codes: tuple[str, ...], schema: dict[str, Any]) -> dict[str, Any]:
    examples = {
        code: {"$ref": f"#/components/examples/{_problem_name(status, code)}"} for code in codes
    }
    response: dict[str, Any] = {
        "description": STATUSES[status],
        "content": {CONTENT_TYPE: {"schema": schema, "examples": examples}},
    }
    if status in _HEADERS:
        response["headers"] = _HEADERS[status]
    return response


def _problem_name(status: int, code: str) -> str:
    """Return the code alone, unless it comes with several statuses."""
    return code if len(CODES[code].statuses) == 1 else f"{code}_{status}"


def _example(status: int, code: str) -> dict[str, Any]:
    meaning = CODES[code].meaning
    return {"summary": meaning, "value": answer(status, code, meaning).problem.model_dump()}


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": PATH_PARAMETERS[_beginning(endpoint)].description,
            "schema": {"type": "string"},
            "example": PATH_PARAMETERS[_beginning(endpoint)].example,
        }
        for name in endpoint.path_names
    ]
    if endpoint.query is not None:
        found += query_parameters(endpoint.query)
    return found + [
        {
            "name": header.name,
            "in": "header",
            "description": header.description,
            "schema": {"type": "string", "maxLength": 200},
            **({"example": header.example} if header.example else {}),
        }
        for header in NOTES.get(endpoint.operation_id, Notes()).headers
    ]


def _beginning(endpoint: Endpoint) -> str:
    """Return the path up to and including its parameter."""
    return endpoint.path[: endpoint.path.index("}") + 1]


@cache
def served() -> dict[str, Any]:
    return document(ENDPOINTS)


@cache
def _served_text() -> str:
    return json.dumps(served(), ensure_ascii=False)


async def openapi(request: web.Request) -> web.Response:
    return web.Response(text=_served_text(), content_type="application/json")


if __name__ == "__main__":
    print(json.dumps(served(), ensure_ascii=False, indent=2))  # noqa: T201  # a program
