"""The main loop on real machines and PostgreSQL, run once: two customers, one after the other.

Each test checks one thing that must be true of it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from loop_site import PATIENCE_S, everything_said, holds, show, site_on_rack
from postgresql_server import PostgresqlServer

from lab.demo import Customer, find_secret, write_secret
from lab.rack.plan import BMC_PASSWORD, BMC_USER
from lab.site import Site
from provisioner.rental.leases import set_end
from provisioner.store.database import Database, call_attention
from provisioner.store.tables import Lease

pytestmark = [pytest.mark.lab, pytest.mark.root, pytest.mark.timeout(900)]

SERVER = "r1-u01"
SSH_CONNECTION_LOST = 255
SOON_S = 15
"""Longer than the agent's interval, so that it knows the end before it comes."""


@dataclass
class Played:
    """What was seen while the loop ran."""

    site: Site
    secret: str = field(default_factory=lambda: f"left-behind-{uuid4().hex}")
    first: dict[str, Any] = field(default_factory=dict)
    """The first customer's lease when it was ready."""
    reservation: str = ""
    hostname: str = ""
    host_key_body: str = ""
    secret_on_disks: bool = False
    ends_at: datetime = datetime.max
    session_ended_at: datetime = datetime.max
    session_status: int = 0
    found_by_second: int = -1
    taken_back: dict[str, Any] = field(default_factory=dict)
    """The server when it was available again after a tenant who had killed the agent."""
    said: str = ""
    said_to_customer: str = ""


@pytest.fixture(scope="module")
def played(
    postgresql: PostgresqlServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Played]:
    url = postgresql.url.format(name=postgresql.create_database())
    with site_on_rack(1, "ilk1", database_url=url) as site:
        play = Played(site)
        site.enrol()
        site.wait_for_state(SERVER, "available", timeout_s=PATIENCE_S)
        keys = tmp_path_factory.mktemp("keys")
        play_first(play, Customer(site, "ada", keys), url)
        play_second(play, Customer(site, "grace", keys), url)
        play.said = everything_said(site)
        yield play


def play_first(play: Played, ada: Customer, database_url: str) -> None:
    """Leave a secret on both disks, and let the lease run out under an open session."""
    site = play.site
    play.reservation = ada.reserve(7200)
    lease = play.first = ada.await_ready(play.reservation)
    play.hostname = ada.must_run(lease, "hostname").strip()
    private = ada.must_run(lease, "grep -v PRIVATE /etc/ssh/ssh_host_ed25519_key")
    play.host_key_body = private.split()[1]
    ada.must_run(lease, write_secret(play.secret))
    play.secret_on_disks = all(holds(disk.path, play.secret) for disk in site.rack.servers[0].disks)
    play.ends_at = asyncio.run(bring_the_end_closer(database_url, lease["id"]))
    session = ada.run(lease, "sleep 3600", timeout_s=PATIENCE_S)
    play.session_ended_at, play.session_status = datetime.now(UTC), session.returncode
    ada.await_refusal(lease)
    site.wait_for_state(SERVER, "available", timeout_s=PATIENCE_S)
    play.said_to_customer = str(site.get(f"/reservations/{play.reservation}"))


async def bring_the_end_closer(database_url: str, lease_id: str) -> datetime:
    """Let time pass: the end of the lease, hours away, comes within seconds."""
    now = datetime.now(UTC)
    ends_at = now + timedelta(seconds=SOON_S)
    database = Database(database_url)
    async with database.write() as session:
        lease = await session.get_one(Lease, lease_id)
        set_end(lease, ends_at, now)
        await call_attention(session, lease.server_id)
    await database.close()
    return ends_at


def play_second(play: Played, grace: Customer, database_url: str) -> None:
    """Read both disks raw, then kill the agent for good, and let the lease run out."""
    site = play.site
    lease = grace.await_ready(grace.reserve(7200))
    play.found_by_second = int(grace.must_run(lease, find_secret(play.secret)))
    grace.must_run(
        lease,
        "systemctl mask --now --runtime ironlease-agent.service; "
        "rm /usr/lib/ironlease/agent.pyz; ! systemctl is-active --quiet ironlease-agent.service",
    )
    asyncio.run(bring_the_end_closer(database_url, lease["id"]))
    grace.await_refusal(lease)
    play.taken_back = site.wait_for_state(SERVER, "available", timeout_s=PATIENCE_S)


def test_the_customers_key_logs_in_to_the_pinned_host_key(played: Played) -> None:
    """The login itself is strict about the host key; it succeeded."""
    assert played.hostname == "ada-1"
    assert played.first["known_hosts"].split()[1] == "ssh-ed25519"


def test_the_secret_was_on_both_disks(played: Played) -> None:
    assert played.secret_on_disks


def test_at_expiry_sessions_end_and_logins_are_refused(played: Played) -> None:
    assert played.session_status == SSH_CONNECTION_LOST
    assert played.session_ended_at >= played.ends_at
    reservation = played.site.get(f"/reservations/{played.reservation}")
    assert reservation["state"] == "ended"


def test_the_lease_is_framed_by_certificates_of_every_disk(played: Played) -> None:
    path = f"/reservations/{played.reservation}/certificates"
    certificates = played.site.get(path)["items"]
    serials = {disk.serial for disk in played.site.rack.servers[0].disks}
    for occasion in ("before", "after"):
        of_occasion = [each for each in certificates if each["occasion"] == occasion]
        assert {each["disk_serial"] for each in of_occasion} == serials
        assert all(each["evidence"]["verified"] for each in of_occasion)
        assert all(each["evidence"]["sample_count"] >= 1000 for each in of_occasion)


def test_the_next_customer_finds_no_trace_of_the_secret(played: Played) -> None:
    assert played.found_by_second == 0


def test_no_trace_is_left_in_what_backs_the_disks(played: Played) -> None:
    for disk in played.site.rack.servers[0].disks:
        assert not holds(disk.path, played.secret)


def test_a_server_whose_tenant_killed_the_agent_is_taken_back_by_its_bmc(played: Played) -> None:
    assert played.taken_back["lease"] is None
    assert all(disk["sanitised"] for disk in played.taken_back["disks"])


def test_the_whole_loop_took_one_boot_for_each_return_to_the_pool(played: Played) -> None:
    assert played.site.rack.server_status(SERVER)["starts"] == 3
    assert "incident" not in show(played.site, SERVER)


def test_no_log_or_answer_holds_the_bmc_password(played: Played) -> None:
    assert re.search(rf"\b{BMC_PASSWORD}\b", played.said) is None


def test_no_log_or_answer_holds_a_host_private_key(played: Played) -> None:
    assert "PRIVATE KEY" not in played.said
    assert len(played.host_key_body) > 40
    assert played.host_key_body not in played.said


def test_the_customer_is_told_nothing_of_the_bmc(played: Played) -> None:
    assert BMC_USER not in played.said_to_customer
    assert played.site.rack.servers[0].bmc_address not in played.said_to_customer
