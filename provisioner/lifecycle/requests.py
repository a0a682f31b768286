"""Starts requested operations, and ends requests together with the operation or the state."""

from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.lifecycle import REACHED, STEPS, RequestOutcome, State, Verb
from provisioner.fleet.requests import end, open_requests
from provisioner.lifecycle.snapshot import Snapshot
from provisioner.store.tables import Operation, Reservation, Server, ServerRequest


async def begin(
    session: AsyncSession, server: Server, snapshot: Snapshot, verb: Verb, now: datetime
) -> None:
    """Start the operation that carries out the first request."""
    if snapshot.requested is None:
        raise LookupError(f"{server.name}: nothing is requested")
    request = await session.get_one(ServerRequest, snapshot.requested.id)
    request.outcome, request.taken_at = RequestOutcome.TAKEN, now
    session.add(
        Operation(
            server_id=server.id,
            lease_id=snapshot.lease.id if snapshot.lease else None,
            request_id=request.id,
            verb=verb,
            step=STEPS[verb][0],
            step_started_at=now,
            started_at=now,
        )
    )
    image_id = request.arguments.get("image_id")
    if verb is Verb.INSTALL:
        server.last_used_at = now  # whoever logs in may write to its disks
    elif verb is Verb.REINSTALL and image_id and snapshot.reservation is not None:
        reservation = await session.get_one(Reservation, snapshot.reservation.id)
        reservation.image_id = image_id


async def end_with_operation(
    session: AsyncSession,
    operation: Operation,
    outcome: RequestOutcome,
    now: datetime,
    reason: str = "",
) -> None:
    if operation.request_id is not None:
        request = await session.get_one(ServerRequest, operation.request_id)
        end(request, outcome, now, reason)


async def end_with_state(
    session: AsyncSession, server_id: str, target: State, now: datetime
) -> None:
    """End requests that the new state fulfils or makes impossible.

    A request for another state keeps waiting, unless the server is now quarantined.
    """
    for request in await open_requests(session, server_id):
        reached = REACHED.get(request.verb)
        if reached is not None and target in reached:
            end(request, RequestOutcome.DONE, now)
            request.taken_at = now
        elif reached is None or target is State.QUARANTINED:
            end(request, RequestOutcome.CANCELLED, now, f"the server became {target.value}")
