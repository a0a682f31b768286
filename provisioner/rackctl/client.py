"""The HTTP API as plain calls: JSON objects in and out, problems and outages as typed errors.

The commands know what the objects mean; `follow.py` knows how long to retry.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx
from httpx_sse import SSEError, connect_sse

from provisioner.rackctl.errors import ApiRefusal, Unreachable, UsageFault

JsonObject = dict[str, Any]
Parameters = Mapping[str, str | int | None]
"""Query parameters; those that are None are left out."""

TIMEOUT_S = 30.0
"""The limit for one response. Power commands wait for a BMC, whose own limit is 10 s."""
PAGE = 200
_LOCAL = ("all://127.0.0.1", "all://localhost", "all://[::1]")


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One server-sent event with its data decoded."""

    name: str
    data: JsonObject


def path(*parts: str) -> str:
    """Return the path `/v1/…` of these parts, each quoted so that a name stays one segment."""
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # invalid brackets or port
        good = False
    if not good:
        raise UsageFault(
            f"{url!r} is not a valid URL",
            next_action="set --url or IRONLEASE_URL to http://host:port",
        )
    return url.rstrip("/")


class Api:
    """A connection to one provisioner. Use it as a context manager, or close it.

    Every call raises :class:`ApiRefusal` when the service refuses and :class:`Unreachable` when
    it does not answer.
    """

    def __init__(self, url: str, token: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self.url = _checked(url)
        self._timeout_s = timeout_s
        headers = {"Accept": "application/json", "User-Agent": "rackctl"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._http = httpx.Client(
            base_url=self.url,
            headers=headers,
            # A proxy cannot reach this machine's loopback.
            mounts=dict.fromkeys(_LOCAL),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def get(self, address: str, parameters: Parameters | None = None) -> JsonObject:
        return self.call("GET", address, parameters=parameters)

    def post(self, address: str, body: JsonObject | None = None) -> JsonObject:
        return self.call("POST", address, body=body)

    def put(self, address: str, body: JsonObject) -> JsonObject:
        return self.call("PUT", address, body=body)

    def items(
        self, address: str, parameters: Parameters | None = None, *, at_most: int | None = None
    ) -> list[JsonObject]:
        """The items of a list, page by page, at most `at_most`."""
        found: list[JsonObject] = []
        cursor: str | None = None
        while at_most is None or len(found) < at_most:
            limit = PAGE if at_most is None else min(PAGE, at_most - len(found))
            page = self.get(address, {**(parameters or {}), "limit": limit, "cursor": cursor})
            found += page["items"]
            cursor = page.get("next")
            if not cursor:
                break
        return found

    def call(
        self,
        method: str,
        address: str,
        *,
        body: JsonObject | None = None,
        parameters: Parameters | None = None,
        headers: dict[str, str] | None = None,
        answer_within_s: float | None = None,
    ) -> JsonObject:
        """One request; the decoded answer, empty when there is none.

        `answer_within_s` is for requests that take longer than the default limit.
        """
        given = {name: value for name, value in (parameters or {}).items() if value is not None}
        try:
            answer = self._http.request(
                method,
                address,
                json=body,
                params=given,
                headers=headers,
                timeout=httpx.Timeout(self._timeout_s, read=answer_within_s or self._timeout_s),
            )
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        return self._answer(answer)

    def events(
        self, address: str, *, after: str = "", silence_s: float = 60.0
    ) -> Iterator[ServerSentEvent]:
        """Server-sent events until the service ends the stream.

        `after` is the identifier of the last event received. A stream silent for `silence_s` counts
        as dropped: the service sends a comment well before that.
        """
        try:
            with connect_sse(
                self._http,
                "GET",
                address,
                params={"after": after} if after else {},
                headers={"Last-Event-ID": after} if after else {},
                timeout=httpx.Timeout(TIMEOUT_S, read=silence_s),
            ) as source:
                if source.response.is_error:
                    source.response.read()
                    self._answer(source.response)
                for event in source.iter_sse():
                    # Without data it is not an event (WHATWG HTML 9.2.6) but a reconnection time.
                    if event.data:
                        yield ServerSentEvent(event.event, event.json())
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        except (SSEError, ValueError) as error:
            raise self._foreign(httpx.codes.OK) from error

    def _answer(self, answer: httpx.Response) -> JsonObject:
        if answer.status_code == httpx.codes.NO_CONTENT:
            return {}
        try:
            document = answer.json()
        except ValueError as error:
            raise self._foreign(answer.status_code) from error
        if not isinstance(document, dict):
            raise self._foreign(answer.status_code)
        if answer.is_success:
            return document
        if answer.status_code == httpx.codes.UNAUTHORIZED and not document.get("next_action"):
            document["next_action"] = "log in: rackctl login --token-stdin"
        raise ApiRefusal(
            str(document.get("detail") or document.get("title") or answer.reason_phrase),
            status=answer.status_code,
            code=str(document.get("code", "")),
            next_action=str(document.get("next_action", "")),
            faults=[
                (str(fault.get("pointer", "")), str(fault.get("reason", "")))
                for fault in document.get("errors", [])
            ],
        )

    def _foreign(self, status: int) -> ApiRefusal:
        return ApiRefusal(
            f"{self.url} answered {status}, but it is not the API",
            status=status,
            next_action="check that --url or IRONLEASE_URL is the address of a provisioner",
        )

    def _unreachable(self, error: httpx.TransportError) -> Unreachable:
        return Unreachable(
            f"no answer from {self.url}: {error or type(error).__name__}",
            next_action=(
                "check that the provisioner is running (systemctl status ironlease), that --url or "
                "IRONLEASE_URL is its address, and that the network allows the connection"
            ),
        )
