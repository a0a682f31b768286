"""What has happened on the site of `make serve` before one looks at it: a day and two hours.

Everything is done through the API by those who would do it: an administrator, two customers.
"""

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from lab.serve.site import Api, Site
from lab.simulated.disk_image import write_disk_image
from provisioner.drivers.ssh.keys import new_host_key

GPUS, CPUS = "8x-h100-80gb", "cpu-64c"
ACCOUNTS = {
    "operator": "Olga Operator",
    "customer": "Carl Customer",
    "nora": "Nora Newman",
}
_BAD_DISK = "a1-u20"
_LIVE_PACE_S = 4


@dataclass(frozen=True)
class Logins:
    """How to look at the site."""

    token: str
    """The administrator's."""
    password: str
    """Of all accounts."""
    emails: tuple[str, ...] = tuple(f"{name}@example.org" for name in ACCOUNTS)


@asynccontextmanager
async def told(site: Site, folder: Path) -> AsyncIterator[Logins]:
    """Play the story, then run the site in the present."""
    logins = Logins(await site.admin_token(), secrets.token_urlsafe(9))
    async with AsyncExitStack() as stack:
        admin = Api(site.url, logins.token)
        stack.push_async_callback(admin.close)

        site.rack.named(_BAD_DISK).faults.append("stubborn_disk")
        async with site.running(hours=26):
            carl, nora = await _furnish(admin, site, folder, logins.password)
            stack.push_async_callback(carl.close)
            stack.push_async_callback(nora.close)
            await admin.until("all servers but one to be available", at_rest)
            smoke_test = await _reserve(carl, GPUS, "smoke-test", hours=6)
            await _reserve(carl, GPUS, "trainer", days=7)
            await _reserve(nora, CPUS, "web", days=3)
            await admin.until("three leases", at_rest)

        async with site.running(hours=21):
            await carl.post(f"/reservations/{smoke_test['id']}/release")
            sweep = await _reserve(carl, GPUS, "sweep", days=3)
            await _reserve(carl, GPUS, "eval", hours=21, minutes=45)
            await _reserve(nora, CPUS, "batch", days=2)
            await admin.until("three more leases", at_rest)

        async with site.running(hours=15):
            finetune = await _reserve(nora, GPUS, "finetune", hours=12)
            await admin.until("one more lease", at_rest)

        async with site.running(hours=9):
            await nora.post(f"/reservations/{finetune['id']}/release")
            await admin.until("its certificates", at_rest)

        await _lose_a_gpu(site, admin, carl, sweep["id"])

        async with site.running(pace=_LIVE_PACE_S):
            await _reserve(nora, GPUS, "render", days=2)
            yield logins


async def _lose_a_gpu(site: Site, admin: Api, carl: Api, reservation: str) -> None:
    async with site.running(minutes=55):
        server = (await carl.get(f"/reservations/{reservation}"))["lease"]["server"]
        site.rack.named(server).faults.append("lost_gpu:3")

        async def has_incident(api: Api) -> bool:
            open_ones = (await api.get("/incidents"))["items"]
            return any(each["server"] == server for each in open_ones)

        await admin.until("an incident", has_incident)


async def _furnish(admin: Api, site: Site, folder: Path, password: str) -> tuple[Api, Api]:
    """Create an image, servers and accounts; return the customers' own clients."""
    disk = write_disk_image(folder / "import" / "debian-12.raw", secrets.token_bytes(1 << 19))
    boot = {"partition": 1, "kernel": "/vmlinuz", "cmdline": "/cmdline", "user": "root"}
    await admin.post(
        "/images",
        path=disk.name,
        name="debian-12",
        title="Debian 12 (simulated)",
        boot=boot,
    )
    await admin.post("/enrolments", documents=site.documents)
    clients = []
    for short, name in ACCOUNTS.items():
        role = "operator" if short == "operator" else "customer"
        account = await admin.post(
            "/accounts", name=name, email=f"{short}@example.org", role=role, password=password
        )
        if role == "customer":
            token = await admin.post(f"/accounts/{account['id']}/tokens", name="story")
            clients.append(Api(site.url, token["token"]))
            _, public_key = new_host_key(short)
            await clients[-1].post("/ssh-keys", name="laptop", public_key=public_key)
    carl, nora = clients
    return carl, nora


async def _reserve(customer: Api, class_name: str, hostname: str, **lasts: float) -> Any:
    return await customer.post(
        "/reservations",
        **{"class": class_name},
        image="debian-12",
        duration_s=int(timedelta(**lasts).total_seconds()),
        ssh_keys=["laptop"],
        hostname=hostname,
    )


async def at_rest(api: Api) -> bool:
    """Whether no server is on its way to another state."""
    servers = (await api.get("/servers"))["items"]
    reservations = (await api.get("/reservations"))["items"]
    return all(s["state"] in ("available", "leased", "quarantined") for s in servers) and all(
        r["lease"] and r["lease"]["state"] in ("ready", "ended") for r in reservations
    )
