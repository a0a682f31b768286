"""The schemas of the API's document, each under its own public name.

Names never come from modules or classes: a model names its schema by `title`, an enumeration by the
table here. So code can be moved and renamed without changing the API.
"""

import inspect
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from provisioner.domain.access import Role
from provisioner.domain.health.levels import HealthAction, HealthLevel
from provisioner.domain.health.sensors import SensorHealth
from provisioner.domain.incidents import IncidentKind
from provisioner.domain.lifecycle import (
    OperationState,
    RequestOutcome,
    RequestVerb,
    State,
    Step,
    StepOutcome,
    Verb,
)
from provisioner.domain.reservations import ReservationAction, ReservationState
from provisioner.domain.sanitisation import SanitisationLevel
from provisioner.drivers.bmc import Power
from provisioner.service.views.base import Page
from provisioner.service.views.reservations import LeaseState, ReservationStatus

Mode = Literal["validation", "serialization"]

ENUMERATIONS: dict[type[Enum], tuple[str, str]] = {
    HealthAction: ("HealthAction", "What repairs a server or a part of it."),
    HealthLevel: ("HealthLevel", "Health of a server or of a part of it."),
    IncidentKind: ("IncidentKind", "What kind of failure an incident is about."),
    LeaseState: ("LeaseState", "Where a lease is in its lifecycle."),
    OperationState: ("OperationState", "Whether an operation is running, waiting or over."),
    Power: ("PowerState", "Whether a server is on."),
    RequestOutcome: ("RequestOutcome", "Outcome of a request."),
    RequestVerb: ("RequestVerb", "What can be requested of a server."),
    ReservationAction: ("ReservationAction", "What can be done with a reservation."),
    ReservationState: (
        "ReservationState",
        "Whether a reservation has a server, waits for one, or is over.",
    ),
    ReservationStatus: ("ReservationStatus", "Where a reservation stands, in one word."),
    Role: ("Role", "What an account may do. Each role includes the ones before it."),
    SanitisationLevel: (
        "SanitisationLevel",
        "Sanitisation level of NIST SP 800-88 r2. Purge is the stronger one.",
    ),
    SensorHealth: ("SensorHealth", "Health of a part, as the server's BMC reports it."),
    State: ("ServerState", "Where a server is in its lifecycle."),
    Step: ("Step", "A step of an operation."),
    StepOutcome: ("StepOutcome", "Outcome of an attempt at a step."),
    Verb: ("OperationVerb", "What an operation does."),
}
"""Public name and description of each enumeration."""

_PREFIX = "#/components/schemas/"
_REF = _PREFIX + "{model}"
_NAMED = "x-named"


class NoPublicName(Exception):
    """A class of the API has no public name, or another one's."""


class _Generator(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:
        return False  # "Created At" says no more than `created_at`

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        model = schema["cls"]
        if "title" not in model.model_config and not issubclass(model, Page):
            raise NoPublicName(f"{model.__qualname__} has no title to name its schema by")
        made = super().model_schema(schema)
        if issubclass(model, Page):
            made["description"] = inspect.cleandoc(Page.__doc__ or "")
        return made

    def enum_schema(self, schema: core_schema.EnumSchema) -> JsonSchemaValue:
        named = ENUMERATIONS.get(schema["cls"])
        if named is None:
            raise NoPublicName(f"{schema['cls'].__qualname__} is missing in ENUMERATIONS")
        # Pydantic later overwrites title and description with the class's name and docstring.
        return super().enum_schema(schema) | {_NAMED: named}


def schemas(
    wanted: Iterable[tuple[type[BaseModel], Mode]],
) -> tuple[dict[type[BaseModel], Any], dict[str, Any]]:
    """Return a reference to each model's schema, and all schemas by public name."""
    wanted = list(wanted)
    references, definitions = models_json_schema(
        wanted, ref_template=_REF, schema_generator=_Generator
    )
    found = definitions.get("$defs", {})
    names = _names(found)
    named = {names[private]: _public(schema, names) for private, schema in sorted(found.items())}
    return (
        {model: _public(references[model, mode], names) for model, mode in wanted},
        dict(sorted(named.items())),
    )


def _names(definitions: dict[str, Any]) -> dict[str, str]:
    """Return the public name of each definition, which becomes its title."""
    for schema in definitions.values():
        if _NAMED in schema:
            schema["title"], schema["description"] = schema.pop(_NAMED)
    names = {private: schema["title"] for private, schema in definitions.items()}
    if len(set(names.values())) < len(names):
        raise NoPublicName(f"two schemas claim one name: {sorted(names.values())}")
    return names


def query_parameters(model: type[BaseModel]) -> list[dict[str, Any]]:
    """Return the fields of a query model as parameters."""
    schema = model.model_json_schema(ref_template=_REF, schema_generator=_QueryGenerator)
    names = _names(schema.get("$defs", {}))
    return [_parameter(name, _public(of, names)) for name, of in schema["properties"].items()]


class _QueryGenerator(_Generator):
    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        return GenerateJsonSchema.model_schema(self, schema)  # a query has no name


def _parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    described = schema.pop("description")
    # A parameter is left out rather than null.
    variants = [of for of in schema.pop("anyOf", ()) if of != {"type": "null"}]
    if schema.get("default", ...) is None:
        del schema["default"]
    for variant in variants:
        schema |= variant
    return {"name": name, "in": "query", "description": described, "schema": schema}


def _public(value: Any, names: Mapping[str, str]) -> Any:
    """Return the value with public names in its references, and descriptions on one line."""
    if isinstance(value, list):
        return [_public(item, names) for item in value]
    if not isinstance(value, dict):
        return value
    public = {key: _public(item, names) for key, item in value.items()}
    reference, description = public.get("$ref"), public.get("description")
    if isinstance(reference, str):
        private = reference.removeprefix(_PREFIX)
        public["$ref"] = _PREFIX + names.get(private, private)
    if isinstance(description, str):
        public["description"] = " ".join(description.split())
    return public
