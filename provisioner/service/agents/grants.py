"""Agents' requests about their lease.

`GET /agents/grant` waits for a newer grant, so that an extension arrives within two seconds. `POST
/agents/release` ends the lease early, at the tenant's request on the machine. `links` picks up
other processes' changes once a second.
"""

import asyncio
import random
import re
from contextlib import suppress

from aiohttp import web

from provisioner.domain.access import Actor
from provisioner.rental import reservations
from provisioner.rental.grants import grant_of
from provisioner.service.agents.ingest import INGEST
from provisioner.service.agents.links import Link
from provisioner.service.context import services_of
from provisioner.service.http.bearer import bearer, unknown_agent
from provisioner.service.http.problems import HttpError
from provisioner.store.secrets import token_hash
from provisioner.store.tables import Lease

PATIENCE_S = 50.0
"""The longest wait: proxies cut off an answer that takes a minute.

Each agent waits for a random time of at least half of it, so that thousands that connect together
after a restart do not come back together.
"""

_LONGEST_ECHO = 64
_SEQUENCE = re.compile(r"-?[0-9]{1,18}")


async def grant(request: web.Request) -> web.Response:
    """`?after=SEQUENCE&echo=NONCE`: the first grant with a higher sequence, 204 if none comes."""
    services = services_of(request)
    link, lease = await _tenant(request)
    after, echo = _sequence(request), request.query.get("echo", "")[:_LONGEST_ECHO]
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S * random.uniform(0.5, 1)):  # noqa: S311  # jitter
            while lease.sequence <= after:
                link.changed.clear()
                await link.changed.wait()
                lease = link.lease or lease
    if lease.sequence <= after:
        return web.Response(status=204)
    signed = grant_of(lease, link.serial, services.secret_box, now=services.clock(), echo=echo)
    return web.Response(text=signed.to_json(), content_type="application/json")


async def release(request: web.Request) -> web.Response:
    """End the lease now; the caller is root on the leased machine."""
    services = services_of(request)
    link, lease = await _tenant(request)
    now = services.clock()
    async with services.database.write() as session:
        actor = Actor.tenant_agent(link.server_id, link.account_id)
        await reservations.release(session, lease.reservation_id, actor=actor, now=now)
    return web.Response(status=204)


async def _tenant(request: web.Request) -> tuple[Link, Lease]:
    link = await request.app[INGEST].links.find(token_hash(bearer(request)))
    if link is None:
        raise unknown_agent()
    if link.lease is None:
        raise HttpError(403, "no_lease", "a ramdisk's agent has no lease")
    return link, link.lease


def _sequence(request: web.Request) -> int:
    after = request.query.get("after", "")
    if not _SEQUENCE.fullmatch(after):
        raise HttpError(
            400, "bad_request", "after: expected the sequence of the newest known grant"
        )
    return int(after)
