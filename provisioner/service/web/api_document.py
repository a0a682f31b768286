"""The API's OpenAPI document as the reference page shows it: operations by tag, tables of fields.

It reads as much of OpenAPI 3.1 as the document uses; what it does not know is an error.
"""

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]

_SCHEMAS = "#/components/schemas/"
_FORMATS = {"date-time": "date and time", "ipvanyaddress": "IP address"}
_LIMITS = (
    ("minimum", "maximum", ""),
    ("minLength", "maxLength", " characters"),
    ("minItems", "maxItems", " entries"),
)
_ONE_LINE = 70
"""Characters of an example that need no second line."""


@dataclass(frozen=True, slots=True)
class Word:
    """A part of a type's name; the name of a schema is a link to it."""

    text: str
    is_schema: bool = False


@dataclass(frozen=True, slots=True)
class Field:
    """A parameter, or a property of a schema."""

    name: str
    type: tuple[Word, ...]
    limits: tuple[str, ...]
    default: str
    """As JSON. Empty when there is none worth showing."""
    is_optional: bool
    description: str
    place: str = ""
    """Of a parameter: `path`, `query` or `header`."""


@dataclass(frozen=True, slots=True)
class Schema:
    name: str
    description: str
    fields: tuple[Field, ...]
    values: tuple[str, ...]
    """Of an enumeration, as JSON."""


@dataclass(frozen=True, slots=True)
class Event:
    """One kind of event of a stream."""

    name: str
    data: Schema


@dataclass(frozen=True, slots=True)
class Answer:
    status: str
    description: str
    schema: Schema | None
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    status: str
    code: str
    meaning: str
    headers: tuple[tuple[str, str], ...]
    """Name and description of what comes with it."""


@dataclass(frozen=True, slots=True)
class Operation:
    id: str
    method: str
    path: str
    summary: str
    description: str
    role: str
    parameters: tuple[Field, ...]
    body: Schema | None
    answers: tuple[Answer, ...]
    problems: tuple[Problem, ...]
    curl: str


@dataclass(frozen=True, slots=True)
class Tag:
    name: str
    description: str
    operations: tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    version: str
    summary: str
    description: str
    tags: tuple[Tag, ...]
    schemas: tuple[Schema, ...]


def read(document: Json, site: str) -> Reference:
    """`site` is where the examples send their requests: a URL without a slash at the end."""
    return _Reader(document, site).reference()


class _Reader:
    def __init__(self, document: Json, site: str) -> None:
        self._document = document
        self._site = site

    def reference(self) -> Reference:
        info, operations = self._document["info"], list(self._operations())
        return Reference(
            version=info["version"],
            summary=info["summary"],
            description=info["description"],
            tags=tuple(
                Tag(
                    tag["name"],
                    tag["description"],
                    tuple(operation for of, operation in operations if of == tag["name"]),
                )
                for tag in self._document["tags"]
            ),
            schemas=tuple(
                self._schema({"$ref": _SCHEMAS + name})
                for name in sorted(self._document["components"]["schemas"])
            ),
        )

    def _operations(self) -> Iterator[tuple[str, Operation]]:
        for path, item in self._document["paths"].items():
            for method, operation in item.items():
                (tag,) = operation["tags"]
                yield tag, self._operation(method.upper(), path, operation)

    def _operation(self, method: str, path: str, operation: Json) -> Operation:
        ((role,),) = (security["token"] for security in operation["security"])
        body = self._body(operation)
        answers = {s: self._resolved(of) for s, of in operation["responses"].items()}
        return Operation(
            id=operation["operationId"],
            method=method,
            path=path,
            summary=operation["summary"],
            description=operation.get("description", ""),
            role=role,
            parameters=tuple(
                _field(of["name"], of["schema"], of.get("required"), of["description"], of["in"])
                for of in operation["parameters"]
            ),
            body=self._schema(body) if body else None,
            answers=tuple(self._answer(*each) for each in answers.items() if each[0] < "400"),
            problems=tuple(
                problem
                for each in answers.items()
                if each[0] >= "400"
                for problem in self._problems(*each)
            ),
            curl=self._curl(method, path, operation),
        )

    def _answer(self, status: str, answer: Json) -> Answer:
        content = answer.get("content", {})
        body = content.get("application/json")
        events = content.get("text/event-stream", {}).get("x-events", {})
        return Answer(
            status,
            answer["description"],
            self._schema(body["schema"]) if body else None,
            tuple(Event(name, self._schema(of)) for name, of in events.items()),
        )

    def _problems(self, status: str, answer: Json) -> Iterator[Problem]:
        headers = tuple((n, of["description"]) for n, of in answer.get("headers", {}).items())
        for example in answer["content"]["application/problem+json"]["examples"].values():
            found = self._resolved(example)
            yield Problem(status, found["value"]["code"], found["summary"], headers)

    def _schema(self, reference: Json) -> Schema:
        schema = self._resolved(reference)
        required = schema.get("required", ())
        return Schema(
            name=_schema_name(reference["$ref"]),
            description=schema["description"],
            fields=tuple(
                _field(name, of, name in required, of["description"])
                for name, of in schema.get("properties", {}).items()
            ),
            values=tuple(json.dumps(value) for value in schema.get("enum", ())),
        )

    def _body(self, operation: Json) -> Json | None:
        if "requestBody" not in operation:
            return None
        schema: Json = operation["requestBody"]["content"]["application/json"]["schema"]
        return schema

    def _curl(self, method: str, path: str, operation: Json) -> str:
        """A command that sends the document's examples, for a shell that has `$TOKEN`."""
        options = ['-H "Authorization: Bearer $TOKEN"']
        for parameter in operation["parameters"]:
            match parameter:
                case {"in": "path", "name": name, "example": example}:
                    path = path.replace(f"{{{name}}}", example)
                case {"in": "header", "name": name, "example": example}:
                    options.append(f"-H {shlex.quote(f'{name}: {example}')}")
        body = self._body(operation)
        if body is not None:
            (example,) = self._resolved(body)["examples"]
            options.append("-H 'Content-Type: application/json'")
            options.append(f"-d {shlex.quote(_json(example))}")
        flags = "" if method == "GET" else f" -X {method}"
        if "text/event-stream" in operation["responses"].get("200", {}).get("content", {}):
            flags += " -N"
        return " \\\n  ".join([f"curl{flags} {shlex.quote(self._site + path)}", *options])

    def _resolved(self, value: Json) -> Json:
        if "$ref" not in value:
            return value
        found: Json = self._document
        for part in value["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return found


def _field(
    name: str, schema: Json, required: bool | None, description: str, place: str = ""
) -> Field:
    default = schema.get("default")
    return Field(
        name=name,
        type=tuple(_type(schema)),
        limits=tuple(_limits(schema)),
        default="" if default in (None, "", []) else json.dumps(default),
        is_optional=not required,
        description=description,
        place=place,
    )


def _type(schema: Json) -> Iterator[Word]:
    match schema:
        case {"$ref": reference}:
            yield Word(_schema_name(reference), is_schema=True)
        case {"anyOf": [first, *others]}:
            yield from _type(first)
            for other in others:
                yield Word(" or ")
                yield from _type(other)
        case {"const": value}:
            yield Word(json.dumps(value))
        case {"enum": values}:
            yield Word(" or ".join(json.dumps(value) for value in values))
        case {"type": "array", "items": {"anyOf": _} as entries}:
            yield Word("array of (")
            yield from _type(entries)
            yield Word(")")
        case {"type": "array", "items": entries}:
            yield Word("array of ")
            yield from _type(entries)
        case {"type": "object", "additionalProperties": {} as entries}:
            yield Word("map of ")
            yield from _type(entries)
        case {"type": name, "format": form}:
            yield Word(f"{name} ({_FORMATS.get(form, form)})")
        case {"type": name}:
            yield Word(name)
        case _:
            raise ValueError(f"a type that the reference cannot show: {schema}")


def _limits(schema: Json) -> Iterator[str]:
    for variant in schema.get("anyOf", (schema,)):
        for least, most, unit in _LIMITS:
            match variant.get(least), variant.get(most):
                case None, None:
                    pass
                case None, high:
                    yield f"up to {high}{unit}"
                case low, None:
                    yield f"at least {low}{unit}"
                case low, high:
                    yield f"{low} to {high}{unit}"
        if "pattern" in variant:
            yield f"matches {variant['pattern']}"


def _schema_name(reference: str) -> str:
    return reference.removeprefix(_SCHEMAS)


def _json(example: Any) -> str:
    short = json.dumps(example, ensure_ascii=False)
    return short if len(short) <= _ONE_LINE else json.dumps(example, ensure_ascii=False, indent=2)
