"""An account's webhook: its address, its secret, and the messages sent to it."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlmodel import col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession
from yarl import URL

from provisioner.domain import webhooks
from provisioner.domain.access import Actor, Permission
from provisioner.domain.refusals import Fault, Refusal, RefusalKind
from provisioner.domain.webhook_addresses import AddressRules, IPAddress
from provisioner.domain.webhooks import WebhookEvent
from provisioner.drivers.webhooks import NotDelivered, WebhookDelivery
from provisioner.store import audit
from provisioner.store.columns import new_id
from provisioner.store.database import Database
from provisioner.store.secrets import SecretBox
from provisioner.store.tables import Server, Webhook, WebhookMessage

_BETWEEN_TESTS = timedelta(seconds=10)


async def fit_addresses(
    database: Database, post: WebhookDelivery, rules: AddressRules, url: URL
) -> list[IPAddress]:
    """Return the addresses of a URL to which messages may go. Raises :class:`NotDelivered`.

    The error does not say why: strangers must not learn what internal names resolve to.
    """
    addresses = await post.look_up(url)
    if rules.admit(addresses) and not await _are_ours(database, addresses):
        return addresses
    raise NotDelivered(f"{url.host} was not found, or is not on the public Internet")


async def _are_ours(database: Database, addresses: Sequence[IPAddress]) -> bool:
    """Whether a server or BMC has one of these addresses: they never receive webhooks."""
    texts = [str(address) for address in addresses]
    async with database.read() as session:
        found = await session.exec(
            select(Server.id)
            .where(or_(col(Server.address).in_(texts), col(Server.bmc_address).in_(texts)))
            .limit(1)
        )
        return found.first() is not None


async def _checked_url(
    database: Database, post: WebhookDelivery, rules: AddressRules, text: str
) -> URL:
    try:
        url = rules.url(text)
        await fit_addresses(database, post, rules, url)
    except (ValueError, NotDelivered) as error:
        raise Refusal(
            RefusalKind.INVALID,
            "bad_webhook",
            f"messages cannot be sent there: {error}",
            next_action="give a receiver that is reachable from the Internet",
            faults=(Fault("/url", str(error)),),
        ) from error
    return url


async def set_webhook(
    database: Database,
    box: SecretBox,
    post: WebhookDelivery,
    rules: AddressRules,
    text: str,
    *,
    actor: Actor,
    now: datetime,
) -> tuple[Webhook, str]:
    """Send the actor's messages to this address from now on. Every call returns a new secret.
    Raises :class:`Refusal` (forbidden, bad_webhook)."""
    actor.require(Permission.RENT)
    url = await _checked_url(database, post, rules, text)
    secret = webhooks.new_secret()
    async with database.write() as session:
        row = await session.get(Webhook, actor.account_id)
        if row is None:
            row = Webhook(account_id=actor.account_id, url="", secret_sealed="", created_at=now)
        row.url, row.secret_sealed = str(url), box.seal(secret)
        session.add(row)
        audit.record(session, actor, "webhook.set", actor.account_id, now, host=url.host)
    return row, secret


async def webhook_of(session: AsyncSession, account_id: str) -> Webhook:
    """Raises :class:`Refusal` (unknown_webhook)."""
    row = await session.get(Webhook, account_id)
    if row is None:
        raise Refusal(
            RefusalKind.NOT_FOUND,
            "unknown_webhook",
            "the account has no webhook",
            next_action="set one: PUT /v1/webhook, or rackctl webhook set URL",
        )
    return row


async def messages_of(
    session: AsyncSession, account_id: str, limit: int
) -> Sequence[WebhookMessage]:
    """Return an account's messages, newest first."""
    found = await session.exec(
        select(WebhookMessage)
        .where(WebhookMessage.account_id == account_id)
        .order_by(col(WebhookMessage.created_at).desc(), col(WebhookMessage.id).desc())
        .limit(limit)
    )
    return found.all()


async def remove_webhook(session: AsyncSession, *, actor: Actor, now: datetime) -> None:
    """Stop sending; pending messages are given up. Raises :class:`Refusal` (forbidden,
    unknown_webhook)."""
    actor.require(Permission.RENT)
    await session.delete(await webhook_of(session, actor.account_id))
    audit.record(session, actor, "webhook.remove", actor.account_id, now)


async def send_test(session: AsyncSession, *, actor: Actor, now: datetime) -> WebhookMessage:
    """Enqueue a test message, which is tried once. Raises :class:`Refusal` (forbidden,
    unknown_webhook, too_soon)."""
    actor.require(Permission.RENT)
    account_id = actor.account_id
    await webhook_of(session, account_id)
    recent = await session.exec(
        select(WebhookMessage.id).where(
            WebhookMessage.account_id == account_id,
            col(WebhookMessage.event).startswith(WebhookEvent.TEST.value),
            col(WebhookMessage.created_at) > now - _BETWEEN_TESTS,
        )
    )
    if recent.first() is not None:
        raise Refusal(
            RefusalKind.CONFLICT,
            "too_soon",
            f"only one test is allowed every {_BETWEEN_TESTS.seconds} seconds",
            next_action="check the outcome of the previous one",
        )
    message = message_of(
        account_id, account_id, WebhookEvent.TEST, {}, occasion=new_id("tst"), now=now
    )
    session.add(message)
    return message


def message_of(
    account_id: str,
    subject: str,
    event: WebhookEvent,
    data: dict[str, object],
    *,
    occasion: str,
    now: datetime,
) -> WebhookMessage:
    """Build a message that is due at once."""
    return WebhookMessage(
        account_id=account_id,
        subject=subject,
        event=occasion_key(event, occasion),
        body={"type": event.value, "timestamp": now.isoformat(), "data": data},
        created_at=now,
        due_at=now,
    )


def occasion_key(event: WebhookEvent, occasion: str = "") -> str:
    """Return the key under which a subject's event, or one occasion of it, is sent only once."""
    return f"{event.value} {occasion}" if occasion else event.value
