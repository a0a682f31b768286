"""A customer's SSH public keys: add, list, remove, and choose for a reservation."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from provisioner.domain.access import Actor, Permission
from provisioner.domain.refusals import Fault, Refusal, RefusalKind
from provisioner.domain.ssh_keys import KINDS, BadPublicKey, parse_public_key
from provisioner.store import audit
from provisioner.store.tables import SshKey


async def keys_of(session: AsyncSession, account_id: str) -> Sequence[SshKey]:
    """Return an account's keys, oldest first."""
    found = await session.exec(
        select(SshKey).where(SshKey.account_id == account_id).order_by(col(SshKey.id))
    )
    return found.all()


async def add_key(
    session: AsyncSession, name: str, text: str, *, actor: Actor, now: datetime
) -> SshKey:
    """Store a public key under a name for the actor's account.

    Raises :class:`Refusal` (forbidden, bad_public_key, key_exists).
    """
    actor.require(Permission.RENT)
    account_id = actor.account_id
    try:
        key = parse_public_key(text)
    except BadPublicKey as error:
        raise _bad_key("/public_key", str(error)) from error
    for known in await keys_of(session, account_id):
        if known.fingerprint == key.fingerprint:
            raise _exists("/public_key", f"this key exists already, as {known.name!r}")
        if known.name == name:
            raise _exists("/name", f"another key has the name {name!r}")
    row = SshKey(
        account_id=account_id,
        name=name,
        public_key=key.line,
        fingerprint=key.fingerprint,
        created_at=now,
    )
    session.add(row)
    try:
        await session.flush()
    except IntegrityError as error:
        raise _exists("/public_key", "this key exists already") from error
    audit.record(session, actor, "ssh_key.add", row.id, now, fingerprint=row.fingerprint)
    return row


async def remove_key(session: AsyncSession, key_id: str, *, actor: Actor, now: datetime) -> None:
    """Delete a key of the actor's account; systems it was installed on keep it.

    Raises :class:`Refusal` (forbidden, unknown_key).
    """
    actor.require(Permission.RENT)
    row = await session.get(SshKey, key_id)
    if row is None or row.account_id != actor.account_id:
        raise Refusal(RefusalKind.NOT_FOUND, "unknown_key", f"no SSH key {key_id!r}")
    await session.delete(row)
    audit.record(session, actor, "ssh_key.remove", key_id, now, fingerprint=row.fingerprint)


async def public_keys(
    session: AsyncSession, account_id: str, chosen: Sequence[str], *, literal: bool = False
) -> list[str]:
    """Return the public key lines for identifiers or names of an account's keys, each once.

    With `literal`, a public key line may stand in place of a name. Raises :class:`Refusal`
    (unknown_key, bad_public_key) that lists every wrong one.
    """
    known = await keys_of(session, account_id)
    by_name = {k.name: k for k in known} | {k.id: k for k in known}
    lines: dict[str, None] = {}
    faults = []
    for position, choice in enumerate(chosen):
        pointer = f"/ssh_keys/{position}"
        if choice in by_name:
            lines[by_name[choice].public_key] = None
        elif literal and choice.strip().startswith(KINDS):
            try:
                lines[parse_public_key(choice).line] = None
            except BadPublicKey as error:
                faults.append(Fault(pointer, str(error)))
        else:
            faults.append(Fault(pointer, f"the account has no SSH key {choice[:80]!r}"))
    if faults:
        raise Refusal(
            RefusalKind.INVALID,
            "unknown_key",
            "; ".join(f.reason for f in faults),
            next_action="add the key first (POST /v1/ssh-keys), or name one of GET /v1/ssh-keys",
            faults=tuple(faults),
        )
    return list(lines)


def _bad_key(pointer: str, reason: str) -> Refusal:
    return Refusal(
        RefusalKind.INVALID,
        "bad_public_key",
        f"not a usable SSH public key: {reason}",
        next_action="paste the whole line of a .pub file, such as ~/.ssh/id_ed25519.pub",
        faults=(Fault(pointer, reason),),
    )


def _exists(pointer: str, reason: str) -> Refusal:
    return Refusal(RefusalKind.CONFLICT, "key_exists", reason, faults=(Fault(pointer, reason),))
