"""What an operator does with several servers at once, each for itself."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.access import Actor
from provisioner.domain.lifecycle import ALLOWED, RequestVerb, State
from provisioner.domain.refusals import Refusal
from provisioner.fleet import requests, servers
from provisioner.store.database import Database, DatabaseUnavailable

_Work = Callable[..., Awaitable[Any]]


class Action(NamedTuple):
    """What may be done with servers that are chosen in the list."""

    title: str
    says: str
    """What it does, before one confirms it."""
    needs_reason: bool
    work: _Work
    verb: RequestVerb | None = None

    def allowed(self, state: State) -> bool:
        return self.verb is None or (state is not State.LEASED and self.verb in ALLOWED[state])


async def _retry(
    session: AsyncSession, name: str, *, actor: Actor, now: datetime, reason: str
) -> None:
    await servers.retry(session, name, actor=actor, now=now)


def _request(verb: RequestVerb, title: str, says: str, *, needs_reason: bool = False) -> Action:
    async def work(
        session: AsyncSession, name: str, *, actor: Actor, now: datetime, reason: str
    ) -> None:
        await requests.request(session, name, verb, actor=actor, now=now, reason=reason)

    return Action(title, says, needs_reason, work, verb)


ACTIONS = {
    "maintain": _request(
        RequestVerb.MAINTAIN,
        "Maintain",
        "Take them out of the pool for work on them.",
        needs_reason=True,
    ),
    "resume": _request(
        RequestVerb.RESUME, "Resume", "Inspect them and put them back into the pool."
    ),
    "quarantine": _request(
        RequestVerb.QUARANTINE,
        "Quarantine",
        "Take them out of service for repair. What runs on them is stopped.",
        needs_reason=True,
    ),
    "repaired": _request(
        RequestVerb.REPAIRED, "Repaired", "Inspect them, wipe them and put them back into the pool."
    ),
    "validate": _request(RequestVerb.VALIDATE, "Validate", "Test their hardware."),
    "sanitise": _request(RequestVerb.SANITISE, "Wipe", "Erase all their disks."),
    "power_cycle": _request(
        RequestVerb.POWER_CYCLE, "Power cycle", "Cut their power and switch them on again."
    ),
    "retire": _request(
        RequestVerb.RETIRE,
        "Retire",
        "Take them out of service for good. This cannot be undone.",
        needs_reason=True,
    ),
    "retry": Action("Retry", "Try their parked operations again now.", False, _retry),
}


class Outcome(NamedTuple):
    """What became of an action on one server."""

    server: str
    done: bool
    text: str


async def act_on_each(
    database: Database,
    action: Action,
    names: Sequence[str],
    *,
    actor: Actor,
    clock: Callable[[], datetime],
    why: str,
) -> list[Outcome]:
    """Act on one server after the other. What one refuses does not keep the others from it."""
    outcomes = []
    for name in names:
        try:
            async with database.write() as session:
                await action.work(session, name, actor=actor, now=clock(), reason=why)
        except Refusal as refusal:
            text = ": ".join(filter(None, (refusal.reason, refusal.next_action)))
            outcomes.append(Outcome(name, False, text))
        except DatabaseUnavailable:
            outcomes.append(Outcome(name, False, "the database did not answer; try again"))
        else:
            outcomes.append(Outcome(name, True, ""))
    return outcomes
