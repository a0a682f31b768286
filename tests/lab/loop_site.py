"""What the tests of the whole loop share: a site on a rack of its own, rackctl, and the logs."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab.site import Site
from lab.testing import rack

DISK_SIZE = "2G"
PATIENCE_S = 400
"""For anything that machines do: they are emulated, on processors that others use too."""


@contextmanager
def site_on_rack(servers: int, name: str, **options: str) -> Iterator[Site]:
    """Yield a fresh rack with the lab's Debian on offer; `options` are those of Site.

    A killed provisioner's claim is taken over within seconds, not half a minute.
    """
    options = {"claim_ttl_s": "6", **options}
    with rack(servers, name, disk_size=DISK_SIZE) as it, Site(it, **options) as site:
        site.import_tenant_image()
        yield site


def rackctl(site: Site, *words: str, given: str | None = None) -> str:
    """Run the installed rackctl against the site; return its output. It must not fail."""
    ran = run_rackctl(site, *words, given=given)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def run_rackctl(
    site: Site, *words: str, given: str | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name("rackctl")), *words],
        env={**os.environ, "IRONLEASE_URL": site.url, "IRONLEASE_TOKEN": site.token},
        input=given,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def show(site: Site, server: str) -> str:
    """Return the server's page as an operator reads it."""
    return rackctl(site, "server", "show", server)


def holds(disk: Path, text: str) -> bool:
    """Whether the text is anywhere in the sparse file that backs a disk."""
    with disk.open("rb") as file:
        return any(text.encode() in part for part in _written_parts(file.fileno()))


def _written_parts(descriptor: int) -> Iterator[bytes]:
    """Yield the data between the holes of a file."""
    end = 0
    while True:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return  # nothing but a hole is left
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield os.pread(descriptor, end - start, start)


def steps(site: Site, server: str) -> list[dict[str, Any]]:
    """Return every attempt at a step of a server's operations, in order, with `verb` added."""
    operations = site.get("/operations", server=server, limit=200)["items"]
    found = []
    for operation in reversed(operations):
        detail = site.get(f"/operations/{operation['id']}")
        found += [{"verb": detail["verb"], **step} for step in detail["steps"]]
    return found


def log_lines(site: Site, operation: str) -> list[dict[str, Any]]:
    """Return all lines of an operation's log, in order."""
    lines: list[dict[str, Any]] = []
    while True:
        after = {"after": lines[-1]["id"]} if lines else {}
        page = site.get(f"/operations/{operation}/log", limit=200, **after)["items"]
        lines += page
        if not page:
            return lines


def all_log_lines(site: Site, server: str) -> list[dict[str, Any]]:
    operations = site.get("/operations", server=server, limit=200)["items"]
    return [line for each in reversed(operations) for line in log_lines(site, each["id"])]


def everything_said(site: Site) -> str:
    """Return the provisioner's log, kept runs' files, and all that the API shows operators."""
    reservations = site.get("/reservations", limit=200)["items"]
    servers = [server["name"] for server in site.get("/servers", limit=200)["items"]]
    paths = ["/me", "/classes", "/images", "/ssh-keys", "/reservations", "/servers"]
    paths += ["/operations", "/incidents", "/audit", "/accounts"]
    paths += [f"/reservations/{each['id']}" for each in reservations]
    paths += [f"/reservations/{each['id']}/certificates" for each in reservations]
    for name in servers:
        paths += [f"/servers/{name}", f"/servers/{name}/certificates"]
    answers = [json.dumps(site.get(path)) for path in paths]
    answers += [json.dumps(all_log_lines(site, name)) for name in servers]
    kept = [file for file in (site.folder / "data/plays").rglob("*") if file.is_file()]
    files = [file.read_text(errors="replace") for file in (site.log, *kept)]
    return "\n".join([*answers, *files])
