"""Operators' pages about health: levels in words, findings with their source, GPUs."""

import re

import pytest
from health_rows import LOST, gpu, health, heard, judged, lost
from service_factories import PASSWORD

from provisioner.domain.access import Role
from provisioner.store.tables import BmcReading


@pytest.fixture
async def operators(browser, make):
    """A browser in which an operator is logged in."""
    await make.account("Op", Role.OPERATOR, password=PASSWORD)
    await browser.log_in("op@example.com")
    return browser


async def test_the_list_has_the_level_of_each_server(operators, make, clock):
    first, second, _ = await make.stock(3)
    await judged(make, first, lost(clock()))
    await judged(make, second)
    _, text = await operators.get("/servers")
    assert re.findall(r'badge (?:faulty|ok)">(\w+)<', text) == ["faulty", "ok"]


async def test_a_servers_page_says_what_was_found_and_by_which_rule(operators, make, clock):
    (server,) = await make.stock()
    assert "<h2>Health" not in (await operators.get("/servers/r1-u01"))[1]
    await judged(make, server, lost(clock()))
    await heard(make, server, health(gpu(0, name="<b>"), gpu(3, lost=True)))
    _, text = await operators.get("/servers/r1-u01")
    for shown in (LOST, "NVML API", "quarantine", "40 °C", "300 W", "90 %", "&lt;b&gt;"):
        assert shown in text, shown
    assert "<b>" not in text


async def test_why_no_gpu_is_read_stands_on_a_servers_page(operators, make):
    (server,) = await make.stock()
    await heard(make, server, health(state="absent", reason="no driver is loaded"))
    _, text = await operators.get("/servers/r1-u01")
    assert "GPUs: absent (no driver is loaded)" in text


async def test_why_no_sensor_is_read_stands_on_a_servers_page(operators, make, clock):
    (server,) = await make.stock()
    await make.add(BmcReading(server_id=server.id, due_at=clock(), error="no <answer> to login"))
    _, text = await operators.get("/servers/r1-u01")
    assert "BMC sensors: no &lt;answer&gt; to login" in text
