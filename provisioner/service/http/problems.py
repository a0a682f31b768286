"""Problems: every refusal and error as one type, rendered as RFC 9457 JSON or as a page."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from agent.protocol import ProtocolError
from provisioner.accounts.passwords import PasswordsBusy
from provisioner.domain.failures import Failure
from provisioner.domain.refusals import Fault, Refusal, RefusalKind
from provisioner.domain.storable import Unstorable
from provisioner.fleet.enrolment import validation_faults
from provisioner.store.database import DatabaseUnavailable

_LOG = logging.getLogger(__name__)

STATUS_OF = {
    RefusalKind.INVALID: 422,
    RefusalKind.FORBIDDEN: 403,
    RefusalKind.NOT_FOUND: 404,
    RefusalKind.CONFLICT: 409,
}
CONTENT_TYPE = "application/problem+json"


class FaultView(BaseModel):
    """One fault in a request."""

    model_config = ConfigDict(title="FieldError", use_attribute_docstrings=True)

    pointer: str
    """JSON pointer (RFC 6901) into the request body. Empty for the body as a whole."""
    reason: str
    """What is wrong there."""


class Problem(BaseModel):
    """An error (RFC 9457): `code` is for programs, `detail` and `next_action` are for people."""

    model_config = ConfigDict(
        title="Problem",
        use_attribute_docstrings=True,
        json_schema_serialization_defaults_required=True,
    )

    type: str = ""
    """URI of the kind of problem: `urn:ironlease:problem:` and the code."""
    title: str = ""
    """Phrase of the HTTP status."""
    status: int
    """HTTP status."""
    detail: str
    """What went wrong."""
    code: str
    """Stable name of the kind of problem, such as `no_capacity`."""
    next_action: str = ""
    """What to do about it. Empty if there is nothing to add."""
    errors: list[FaultView] = []
    """Faults in the request, each with its place. Empty if none can be located."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A problem and the headers that belong to it."""

    problem: Problem
    headers: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> web.Response:
        return web.Response(
            text=self.problem.model_dump_json(),
            status=self.problem.status,
            content_type=CONTENT_TYPE,
            headers=self.headers,
        )


class HttpError(Exception):
    """A request that is wrong at the HTTP level: its status, and what to do instead."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        next_action: str = "",
        faults: tuple[Fault, ...] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.answer = answer(
            status, code, detail, next_action=next_action, faults=faults, headers=headers
        )


def answer(
    status: int,
    code: str,
    detail: str,
    *,
    next_action: str = "",
    faults: tuple[Fault, ...] = (),
    headers: Mapping[str, str] | None = None,
) -> Answer:
    problem = Problem(
        type=f"urn:ironlease:problem:{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        next_action=next_action,
        errors=[FaultView(pointer=f.pointer, reason=f.reason) for f in faults],
    )
    return Answer(problem, headers or {})


def unauthenticated(detail: str) -> HttpError:
    return HttpError(
        401,
        "unauthenticated",
        detail,
        next_action="send a valid API token as 'Authorization: Bearer …'",
        headers={"WWW-Authenticate": 'Bearer realm="ironlease"'},
    )


def invalid_request(error: ValidationError) -> HttpError:
    """Build the error from what pydantic found wrong in a body or query."""
    malformed = any(item["type"] == "json_invalid" for item in error.errors())
    faults = tuple(validation_faults(error))
    return HttpError(
        400 if malformed else 422,
        "malformed_json" if malformed else "invalid_request",
        "; ".join(f"{f.pointer or 'body'}: {f.reason}" for f in faults),
        next_action="see GET /openapi.json for what is expected",
        faults=faults,
    )


def unstorable(error: Unstorable) -> HttpError:
    """For a text or a number that no table could hold."""
    return HttpError(422, "invalid_request", str(error), faults=(error.fault,))


def answer_to(error: Exception) -> Answer:  # noqa: PLR0911  # one for each kind
    """Return the response to an exception; unexpected ones are logged, not shown."""
    match error:
        case HttpError():
            return error.answer
        case Refusal():
            return answer(
                STATUS_OF[error.kind],
                error.code,
                error.reason,
                next_action=error.next_action,
                faults=error.faults,
            )
        case Failure():
            return answer(502, error.code, error.reason, next_action=error.next_action)
        case DatabaseUnavailable():
            return answer(
                503,
                "no_database",
                "the database does not answer",
                next_action="try again soon; if it persists, look at the provisioner's log and at "
                "the database",
                headers={"Retry-After": "5"},
            )
        case PasswordsBusy():
            return answer(
                503,
                "passwords_busy",
                "too many passwords are being checked",
                next_action="try again in a moment",
                headers={"Retry-After": "2"},
            )
        case Unstorable():
            return unstorable(error).answer
        case ProtocolError():
            return answer(400, "bad_message", str(error))
        case web.HTTPException():
            return _answer_to_http(error)
    _LOG.error("a request failed for a reason nobody foresaw", exc_info=error)
    return answer(
        500,
        "internal_error",
        "the provisioner failed to answer; nothing of this request was kept",
        next_action="try again; if it persists, look at the provisioner's log",
    )


def _answer_to_http(error: web.HTTPException) -> Answer:
    phrase = HTTPStatus(error.status).phrase
    code = phrase.lower().replace(" ", "_").replace("-", "_")
    headers = {k: v for k, v in error.headers.items() if k == "Allow"}
    detail = {404: "there is nothing at this address", 413: "the request is too large"}.get(
        error.status, phrase
    )
    return answer(error.status, code, detail, headers=headers)
