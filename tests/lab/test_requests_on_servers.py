"""What is requested of a server, on a real machine: a customer's requests, then an operator's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from loop_site import PATIENCE_S, rackctl, show, site_on_rack

from lab.demo import IMAGE, Customer
from lab.site import Site

pytestmark = [pytest.mark.lab, pytest.mark.root, pytest.mark.timeout(1500)]

SERVER = "r1-u01"
MARK, DATA = "/root/mark", "/dev/nvme1n1"


@dataclass
class Rented:
    """A customer with a server; each login is strict about the host key that was issued first."""

    site: Site
    customer: Customer
    reservation: str
    lease: Any

    def run(self, command: str) -> str:
        return self.customer.must_run(self.lease, command).strip()

    def boot_id(self) -> str:
        return self.run("cat /proc/sys/kernel/random/boot_id")

    def request(self, *words: str) -> None:
        verb, *options = words
        done = ("reservation", verb, self.reservation, *options)
        _await_done(self.site, f"/reservations/{self.reservation}/requests", *done)

    def await_login(self) -> None:
        self.site.wait_for(
            "the system to let its customer in",
            lambda: self.customer.run(self.lease, "true").returncode == 0,
            PATIENCE_S,
        )

    def power(self) -> str:
        return str(self.site.get(f"/servers/{SERVER}/power")["power"])


def _await_done(site: Site, path: str, *words: str) -> None:
    filed = json.loads(rackctl(site, *words, "-o", "json"))["id"]

    def ended() -> Any:
        request = next(each for each in site.get(path)["items"] if each["id"] == filed)
        return request if request["ended_at"] else None

    request = site.wait_for(f"{' '.join(words)} to end", ended, PATIENCE_S)
    assert request["outcome"] == "done", request["failure"]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with site_on_rack(1, "ilrq") as site:
        site.enrol()
        site.wait_for_state(SERVER, "available", timeout_s=PATIENCE_S)
        yield site


@pytest.fixture(scope="module")
def rented(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Rented:
    ada = Customer(site, "ada", tmp_path_factory.mktemp("keys"))
    reservation = ada.reserve(7200)
    rented = Rented(site, ada, reservation, ada.await_ready(reservation))
    rented.run(f"echo kept > {MARK} && echo kept > {DATA} && sync")
    return rented


def test_a_rebooted_server_comes_back_with_its_disks(rented: Rented) -> None:
    before = rented.boot_id()
    rented.request("reboot")
    rented.await_login()
    assert rented.boot_id() != before
    assert rented.run(f"cat {MARK}") == "kept"


def test_a_stopped_server_has_no_power_until_it_is_started(rented: Rented) -> None:
    rented.request("stop")
    assert rented.power() == "off"
    assert rented.site.get(f"/reservations/{rented.reservation}")["lease"]["state"] == "stopped"
    rented.request("start")
    rented.await_login()
    assert rented.run(f"cat {MARK}") == "kept"


def test_a_power_cycled_server_comes_back(rented: Rented) -> None:
    before = rented.boot_id()
    rented.request("power-cycle")
    rented.await_login()
    assert rented.boot_id() != before


def test_a_reinstalled_server_has_a_new_system_and_its_old_name_and_keys(rented: Rented) -> None:
    rented.request("reinstall", "--yes")
    assert rented.run(f"ls {MARK} 2>/dev/null; hostname") == "ada-1"
    assert rented.run(f"head -c 4 {DATA}") == "kept", "only the system's disk is erased"


def test_it_is_taken_back_as_any_other(rented: Rented) -> None:
    rackctl(rented.site, "reservation", "release", rented.reservation)
    rented.customer.await_refusal(rented.lease)
    left = rented.site.wait_for_state(SERVER, "available", timeout_s=PATIENCE_S)
    assert all(disk["sanitised"] for disk in left["disks"])


def test_an_operator_validates_wipes_and_images_a_server_in_maintenance(
    rented: Rented, tmp_path: Path
) -> None:
    site, path = rented.site, f"/servers/{SERVER}/requests"
    _await_done(site, path, "server", "maintain", SERVER, "--reason", "new firmware")
    _await_done(site, path, "server", "validate", SERVER)
    _await_done(site, path, "server", "wipe", SERVER)
    public_key = str(rented.customer.key.with_suffix(".pub"))
    _await_done(site, path, "server", "image", SERVER, "--image", IMAGE, "--key", public_key)
    said = rackctl(site, "operation", "show", SERVER, "-o", "json")
    (host_key,) = re.findall(r"the host key is (ssh-ed25519 \S+)", said)
    address = rented.lease["address"]
    rented.customer.known_hosts.write_text(f"{address} {host_key}\n")
    assert rented.run("hostname") == SERVER


def test_a_server_that_an_operator_used_is_wiped_before_it_is_offered(rented: Rented) -> None:
    site = rented.site
    assert not any(disk["sanitised"] for disk in site.server(SERVER)["disks"])
    _await_done(site, f"/servers/{SERVER}/requests", "server", "resume", SERVER)
    left = site.wait_for_state(SERVER, "available", timeout_s=PATIENCE_S)
    assert all(disk["sanitised"] for disk in left["disks"])
    assert "incident" not in show(site, SERVER)
