"""What a simulated machine asks of the provisioner, over HTTP as a real one does."""

import re
import secrets
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256
from typing import Any

import httpx
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_ssh_private_key,
)

from agent.protocol import IdentityRequest, Report


class HttpLink:
    """A machine's requests while it boots and runs; `health` is what its agent reads, by server."""

    def __init__(
        self, url: str, clock: Callable[[], datetime], health: Callable[[str], dict[str, Any]]
    ) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=10)
        self._clock = clock
        self._health = health
        self._started: dict[str, datetime] = {}
        self._sequence = 0

    async def boot_token(self, mac: str, serial: str) -> str | None:
        script = await self._http.get("/boot/ipxe", params={"mac": mac, "serial": serial})
        script.raise_for_status()
        token = re.search(r"ironlease\.token=(\S+)", script.text)
        return token.group(1) if token else None

    async def identify(
        self, token: str, nonce: str, mac: str, serial: str
    ) -> tuple[str, str, str] | None:
        request = IdentityRequest(token, secrets.token_hex(8), serial, mac, nonce)
        answer = await self._http.post("/boot/identity", content=request.to_json())
        if answer.status_code == httpx.codes.FORBIDDEN:
            return None
        answer.raise_for_status()
        identity = answer.json()
        key = load_ssh_private_key(identity["ssh_host_key"].encode(), password=None)
        public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        return identity["server"], f"{public} {identity['hostname']}", identity["agent"]["token"]

    async def ready(self, agent_token: str) -> None:
        answer = await self._http.post(
            "/boot/ready", json={"boot_id": _boot_id(agent_token)}, headers=bearer(agent_token)
        )
        answer.raise_for_status()

    async def report(self, agent_token: str, server_id: str, context: str) -> None:
        self._sequence += 1
        now = self._clock()
        started = self._started.setdefault(agent_token, now)
        report = Report(
            server=server_id,
            context=context,
            boot_id=_boot_id(agent_token),
            sequence=self._sequence,
            uptime_s=(now - started).total_seconds(),
            agent_version="simulated",
            hostname="simulated",
            lease=None,
            health=self._health(server_id),
        )
        answer = await self._http.post(
            "/agents/report", content=report.to_json(), headers=bearer(agent_token)
        )
        if answer.status_code != httpx.codes.UNAUTHORIZED:
            # A revoked agent is refused and keeps asking, as a real one does.
            answer.raise_for_status()

    async def close(self) -> None:
        await self._http.aclose()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _boot_id(agent_token: str) -> str:
    """Return an identifier of the boot that the token was issued for."""
    return sha256(agent_token.encode()).hexdigest()[:16]
