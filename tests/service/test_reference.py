"""The API reference at /docs: the whole document, for everybody, with and without scripts."""

import json
import re
import subprocess

import pytest
from playwright.async_api import expect
from service_factories import PASSWORD

from provisioner.service.api.openapi import served
from provisioner.service.web.api_document import read
from provisioner.service.web.render import prose

DOCUMENT = served()
SCHEMAS = DOCUMENT["components"]["schemas"]
SITE = "https://rent.example.com"
OPERATIONS = {o.id: o for tag in read(DOCUMENT, SITE).tags for o in tag.operations}
IN_DOCUMENT = {
    operation["operationId"]: (method.upper(), path, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
}


@pytest.fixture
async def phone(page, anybody):
    """A page as wide as a phone, in a browser without JavaScript."""
    context = await page.context.browser.new_context(
        base_url=str(anybody.make_url("/")),
        java_script_enabled=False,
        viewport={"width": 390, "height": 844},
    )
    return await context.new_page()


async def test_every_operation_and_schema_has_its_anchor_and_every_link_leads_to_one(page):
    await page.goto("/docs")
    anchors = await page.locator("[id]").evaluate_all("all => all.map(each => each.id)")
    assert len(set(anchors)) == len(anchors)
    assert IN_DOCUMENT.keys() <= set(anchors)
    assert {f"schema-{name}" for name in SCHEMAS} <= set(anchors)
    links = await page.locator("a[href^='#']").evaluate_all(
        "all => all.map(each => each.getAttribute('href').slice(1))"
    )
    assert set(links) <= set(anchors)
    assert page.errors == []


async def test_an_operation_is_shown_with_all_that_the_document_says_of_it(page):
    await page.goto("/docs#createReservation")
    shown = page.locator("#createReservation")
    await expect(shown.locator("h3")).to_have_text("POST /v1/reservations role: customer")
    await expect(shown).to_contain_text("Reserve a server from now on.")
    await expect(shown.get_by_role("row", name="Idempotency-Key")).to_contain_text(
        "header, optional"
    )
    await expect(shown.get_by_role("row", name="ssh_keys")).to_contain_text("up to 50 entries")
    await expect(shown.locator("pre")).to_contain_text('"duration_s": 7200')

    await shown.get_by_text("Fields of the answer").click()
    lease = shown.get_by_role("row", name="lease Lease or null")
    await shown.get_by_text("Problems: 400, 401, 403, 408, 409").click()
    await expect(shown.get_by_role("row", name="no_capacity")).to_contain_text("409")
    await expect(shown.get_by_role("row", name="no_database")).to_contain_text("Retry-After")

    await lease.get_by_role("link", name="Lease").click()
    await expect(page.locator("#schema-Lease")).to_be_in_viewport()
    await expect(page.locator("#schema-LeaseState")).to_contain_text('"preparing"')
    assert page.errors == []


async def test_a_stream_is_shown_with_its_events(page):
    await page.goto("/docs")
    stream = page.locator("#streamOperationEvents")
    await expect(stream.get_by_role("row", name="log")).to_contain_text("LogLine")
    await expect(stream.get_by_role("row", name="operation OperationDetail")).to_be_visible()
    await expect(stream.locator("pre")).to_contain_text("curl -N")


@pytest.mark.parametrize("unfolded", [False, True])
async def test_a_phone_without_javascript_shows_all_without_scrolling_sideways(phone, unfolded):
    await phone.goto("/docs")
    await phone.get_by_role("link", name="Reserve a server from now on").click()
    await expect(phone.locator("#createReservation")).to_be_in_viewport()
    details = phone.locator("details")
    if unfolded:
        await details.evaluate_all("all => all.forEach(each => each.open = true)")
    assert await phone.evaluate("document.documentElement.scrollWidth") == 390
    beyond = "all => all.filter(each => each.getBoundingClientRect().right > 390).length"
    assert await phone.locator("main > .reference > div *").evaluate_all(beyond) == 0


async def test_dark_mode_is_dark(page):
    colours = "() => [document.body, document.querySelector('.card')].map(each => "
    colours += "getComputedStyle(each).backgroundColor)"
    await page.goto("/docs")
    light = await page.evaluate(colours)
    await page.emulate_media(color_scheme="dark")
    dark = await page.evaluate(colours)
    assert all(brightness(colour) > 200 for colour in light)
    assert all(brightness(colour) < 50 for colour in dark)


def brightness(colour: str) -> float:
    return sum(int(part) for part in re.findall(r"\d+", colour)[:3]) / 3


async def test_the_reference_is_the_same_for_everybody_and_may_be_kept(browser, make, anybody):
    first = await anybody.get("/docs")
    assert first.headers["Cache-Control"].startswith("public")
    assert "Set-Cookie" not in first.headers
    assert "default-src 'none'" in first.headers["Content-Security-Policy"]
    again = await anybody.get("/docs", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")
    other = await anybody.get("/docs", headers={"If-None-Match": 'W/"other"'})
    assert other.status == 200
    await make.account("Ada", password=PASSWORD)
    await browser.log_in("ada@example.com")
    assert (await browser.get("/docs"))[1] == await first.text()


async def test_every_page_leads_to_the_reference(browser, make):
    assert 'href="/docs"' in (await browser.get("/login"))[1]
    await make.account("Ada", password=PASSWORD)
    await browser.log_in("ada@example.com")
    assert 'href="/docs"' in (await browser.get("/keys"))[1]


def test_every_example_is_a_command_that_sends_what_the_document_says():
    for name, (method, path, operation) in IN_DOCUMENT.items():
        url, options = arguments(OPERATIONS[name].curl)
        assert options.get("-X", ["GET"]) == [method]
        pattern = re.sub(r"\\{\w+\\}", r"[\\w-]+", re.escape(SITE + path))
        assert re.fullmatch(pattern, url), url
        assert options["-H"][0] == "Authorization: Bearer t0ken"
        if "requestBody" in operation:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
            (example,) = SCHEMAS[schema.rpartition("/")[2]]["examples"]
            assert json.loads(*options["-d"]) == example
            assert "Content-Type: application/json" in options["-H"]
        else:
            assert "-d" not in options


def arguments(command: str) -> tuple[str, dict[str, list[str]]]:
    """URL and options that a shell hands to curl."""
    ran = subprocess.run(
        ["bash", "-euc", f"curl() {{ printf '%s\\0' \"$@\"; }}\n{command}"],
        env={"TOKEN": "t0ken"},
        check=True,
        capture_output=True,
        text=True,
    )
    words = iter(ran.stdout.split("\0")[:-1])
    urls: list[str] = []
    options: dict[str, list[str]] = {}
    for word in words:
        if word == "-N":
            continue
        if word.startswith("-"):
            options.setdefault(word, []).append(next(words))
        else:
            urls.append(word)
    (url,) = urls
    return url, options


def test_a_type_that_the_page_could_not_show_is_an_error():
    operation = DOCUMENT["paths"]["/v1/me"]["get"]
    strange = {**SCHEMAS["Account"], "properties": {"x": {"not": {}, "description": "X."}}}
    document = {
        **DOCUMENT,
        "paths": {"/v1/me": {"get": operation}},
        "components": {**DOCUMENT["components"], "schemas": {**SCHEMAS, "Account": strange}},
    }
    with pytest.raises(ValueError, match="cannot show"):
        read(document, SITE)


def test_prose_marks_code_and_nothing_else():
    assert prose("At `<at>`, <b>") == "At <code>&lt;at&gt;</code>, &lt;b&gt;"
