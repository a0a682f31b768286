"""The rack process's control socket: one JSON line per request and answer.

`{"verb": …, arguments}` is answered with `{"result": …}` or `{"error": "why, and what to do"}`.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from lab.rack.errors import RackError

_ANSWER_SECONDS = 60


async def serve(path: Path, verbs: Mapping[str, Callable[..., Awaitable[Any]]]) -> asyncio.Server:
    """Answer requests on `path`; a verb's RackError becomes the client's error."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = json.loads(await reader.readline())
        verb = verbs[request.pop("verb")]
        try:
            reply = {"result": await verb(**request)}
        except RackError as error:
            reply = {"error": str(error)}
        writer.write(json.dumps(reply).encode() + b"\n")
        await writer.drain()
        writer.close()

    return await asyncio.start_unix_server(answer, path)


def ask(path: Path, verb: str, **arguments: Any) -> Any:
    """Send a request to the rack process and return its result.

    Raises RackError with its reason, OSError if nobody listens there.
    """
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(_ANSWER_SECONDS)
        link.connect(str(path))
        link.sendall(json.dumps({"verb": verb, **arguments}).encode() + b"\n")
        with link.makefile() as stream:
            line = stream.readline()
    if not line:
        raise RackError("the rack process died; its log (rackd.log) says why")
    reply = json.loads(line)
    if "error" in reply:
        raise RackError(reply["error"])
    return reply["result"]
