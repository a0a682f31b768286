"""`make screenshots`: draws the pictures in docs/images/ from the pages of `make serve`."""

import asyncio
import shutil
import socket
import sys
import tempfile
from pathlib import Path

from playwright.async_api import Page, async_playwright

from lab.serve import serving
from lab.serve.site import Api, Site
from lab.serve.story import Logins, at_rest

IMAGES = Path(__file__).parent / "images"
_CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
_WIDTH, _MARGIN = 1440, 12
_BOTTOM = "([css, n]) => document.querySelectorAll(css)[n].getBoundingClientRect().bottom"
_LARGEST = 300_000


async def main() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        async with serving(port, Path(folder)) as (site, logins):
            await _draw(site, logins)


async def _draw(site: Site, logins: Logins) -> None:
    api = Api(site.url, logins.token)
    await api.until("every server at rest", at_rest)
    ids = {r["hostname"]: r["id"] for r in (await api.get("/reservations"))["items"]}
    await api.close()
    # Whose page it is, its path, and the last thing that the picture shows.
    pictures = {
        "servers": ("operator", "/servers", "table", 0),
        "lease": ("customer", f"/reservations/{ids['trainer']}", ".charts", 2),
        "health": ("customer", f"/reservations/{ids['sweep']}", ".charts", 4),
    }
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=_CHROMIUM, args=["--no-sandbox"])
        for name, (who, path, *last) in pictures.items():
            page = await browser.new_page(
                viewport={"width": _WIDTH, "height": 900}, color_scheme="light"
            )
            await log_in(page, site.url, f"{who}@example.org", logins.password)
            await page.goto(site.url + path)
            picture = IMAGES / f"{name}.png"
            # In one step: the page renews itself meanwhile.
            bottom = await page.evaluate(_BOTTOM, last)
            shown = {"x": 0, "y": 0, "width": _WIDTH, "height": bottom + _MARGIN}
            await page.screenshot(path=picture, full_page=True, clip=shown)
            if picture.stat().st_size > _LARGEST:
                sys.exit(f"{picture} is larger than {_LARGEST} bytes")
            await page.close()
        await browser.close()


async def log_in(page: Page, url: str, email: str, password: str) -> None:
    await page.goto(f"{url}/login")
    await page.get_by_label("E-mail").fill(email)
    await page.get_by_label("Password").fill(password)
    await page.get_by_role("button", name="Log in").click()
    await page.wait_for_url(f"{url}/")


if __name__ == "__main__":
    asyncio.run(main())
