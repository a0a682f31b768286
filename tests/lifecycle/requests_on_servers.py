"""What tests of requests on servers share."""

from sqlmodel import select
from world import World

from provisioner.domain.lifecycle import RequestOutcome, RequestVerb, Verb
from provisioner.store.tables import Operation


async def carried_out(world: World, verb: RequestVerb) -> None:
    request = await world.request(verb)
    await world.settle()
    request = await world.filed(request.id)
    assert (request.outcome, request.failure) == (RequestOutcome.DONE, "")
    assert request.filed_at <= (request.taken_at or request.filed_at)
    assert request.ended_at is not None


async def operations(world: World, verb: Verb) -> list[Operation]:
    async with world.database.read() as session:
        found = await session.exec(select(Operation).where(Operation.verb == verb))
        return list(found)
