"""Whether an application's answers are in the document of its API: tests watch every answer."""

from aiohttp import web

from provisioner.service.api.endpoints import ENDPOINTS
from provisioner.service.api.openapi import problems_of
from provisioner.service.http.endpoint import Endpoint
from provisioner.service.http.problems import CONTENT_TYPE, Problem

_BY_ROUTE = {(endpoint.method, endpoint.full_path): endpoint for endpoint in ENDPOINTS}


def watch_answers(app: web.Application) -> list[str]:
    """A list that fills with answers of `/v1` that the document does not name."""
    undocumented: list[str] = []

    async def check(request: web.Request, response: web.StreamResponse) -> None:
        resource = request.match_info.route.resource
        path = resource.canonical if resource else ""
        endpoint = _BY_ROUTE.get((request.method, path))
        if endpoint is not None and not _is_documented(endpoint, response):
            body = response.text if isinstance(response, web.Response) else ""
            undocumented.append(f"{endpoint.operation_id}: {response.status} {body}")

    app.on_response_prepare.append(check)
    return undocumented


def _is_documented(endpoint: Endpoint, response: web.StreamResponse) -> bool:
    if not isinstance(response, web.Response) or response.content_type != CONTENT_TYPE:
        return response.status == endpoint.status
    problem = Problem.model_validate_json(response.text or "")
    return problem.code in problems_of(endpoint).get(response.status, ())
