"""`make serve`: the whole service on SQLite, with the example inventory as simulated servers.

It is for trying out the pages and the API, and needs no root. The simulated machines request their
boot scripts and identities over HTTP, as real ones do.
"""

import asyncio
import re
import secrets
import shutil
import time
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path

import httpx
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_ssh_private_key,
)
from rich.console import Console

from lab.simulated import SimulatedRack, servers_of, simulated_drivers
from provisioner.accounts.tokens import bootstrap_admin
from provisioner.daemon import Daemon, open_database
from provisioner.drivers.webhooks.post import WebhookPost
from provisioner.rackctl.inventory_files import read_inventory
from provisioner.settings import Settings
from provisioner.store.secrets import SecretBox

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "var" / "serve"
INVENTORY = sorted((ROOT / "inventory" / "example").glob("*.yaml"))
_REPORT_S = 10


class HttpLink:
    """A booting machine's requests to the provisioner, over HTTP."""

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=10)

    async def boot_token(self, mac: str, serial: str) -> str | None:
        script = await self._http.get("/boot/ipxe", params={"mac": mac, "serial": serial})
        script.raise_for_status()
        token = re.search(r"ironlease\.token=(\S+)", script.text)
        return token.group(1) if token else None

    async def identify(self, token: str, mac: str, serial: str) -> tuple[str, str, str]:
        request = {"token": token, "boot_id": secrets.token_hex(8), "serial": serial, "mac": mac}
        answer = await self._http.post("/boot/identity", json=request)
        answer.raise_for_status()
        identity = answer.json()
        key = load_ssh_private_key(identity["ssh_host_key"].encode(), password=None)
        public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        return identity["server"], f"{public} {identity['hostname']}", identity["agent"]["token"]

    async def ready(self, agent_token: str) -> None:
        answer = await self._http.post(
            "/boot/ready", json={"boot_id": "simulated"}, headers=_bearer(agent_token)
        )
        answer.raise_for_status()

    async def report(self, agent_token: str, server_id: str, context: str) -> None:
        report = {
            "server": server_id,
            "context": context,
            "boot_id": "simulated",
            "sequence": 1,
            "uptime_s": time.monotonic(),
            "agent_version": "simulated",
            "hostname": "simulated",
            "lease": None,
        }
        answer = await self._http.post("/agents/report", json=report, headers=_bearer(agent_token))
        if answer.status_code != httpx.codes.UNAUTHORIZED:
            # A revoked agent is refused and keeps asking, as a real one does.
            answer.raise_for_status()


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def run(port: int) -> int:
    """Serve until Ctrl-C. Everything starts afresh each time."""
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(f"http://127.0.0.1:{port}", port))
    return 0


async def _serve(url: str, port: int) -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    settings = Settings(
        data_dir=FOLDER,
        ramdisk_dir=FOLDER,
        listen_port=port,
        public_url=url,
        machine_url=url,
        # Webhooks can only be tried with a receiver of one's own on this machine.
        webhook_allow_http=True,
        webhook_allow_networks=[ip_network("127.0.0.0/8")],
    )
    documents = read_inventory(INVENTORY).documents
    rack = SimulatedRack(FOLDER / "rack.json", HttpLink(url), servers_of(documents), pace=2)
    async with open_database(settings) as database:
        daemon = Daemon(
            settings=settings,
            database=database,
            box=SecretBox.from_file(settings.secret_key_file),
            drivers=simulated_drivers(rack),
            authorized_key="",
            post=WebhookPost(),
        )
        async with daemon.serving(), asyncio.TaskGroup() as tasks:
            async with database.write() as session:
                token = await bootstrap_admin(session)
            await _furnish(url, token, documents)
            tasks.create_task(daemon.work())
            tasks.create_task(_agents(rack))


async def _agents(rack: SimulatedRack) -> None:
    while True:
        for server in rack.servers:
            await rack.report(server)
        await asyncio.sleep(_REPORT_S)


async def _furnish(url: str, token: str, documents: list[dict[str, object]]) -> None:
    """Create an image, the example's servers, and an operator and a customer to log in as."""
    disk = FOLDER / "example.raw"
    disk.write_bytes(secrets.token_bytes(1 << 20))
    boot = {"partition": 1, "kernel": "/vmlinuz", "cmdline": "/cmdline", "user": "root"}
    image = {"path": str(disk), "name": "debian-12", "title": "Debian 12 (simulated)"}
    password = secrets.token_urlsafe(9)
    accounts = [("Olga Operator", "operator"), ("Carl Customer", "customer")]
    async with httpx.AsyncClient(base_url=f"{url}/v1", headers=_bearer(token)) as api:
        requests = [
            ("/images", {**image, "boot": boot}),
            ("/enrolments", {"documents": documents}),
            *(
                (
                    "/accounts",
                    {
                        "name": name,
                        "email": f"{role}@example.org",
                        "role": role,
                        "password": password,
                    },
                )
                for name, role in accounts
            ),
        ]
        for path, body in requests:
            (await api.post(path, json=body)).raise_for_status()
    Console().print(
        f"""
[bold]Ironlease[/] with simulated servers: {url}

  log in as     customer@example.org or operator@example.org, password {password}
  rackctl       export IRONLEASE_URL={url} IRONLEASE_TOKEN={token}
                .venv/bin/rackctl server list

Ctrl-C ends it; nothing is kept.
""",
        highlight=False,
        soft_wrap=True,
    )
