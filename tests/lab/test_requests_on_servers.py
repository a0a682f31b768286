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

    def request(self, verb: str) -> None:
        options = () if verb == "start" else ("--yes", "--reason", "tests")
        words = ("reservation", verb, self.reservation, *options, "-o", "json")
        request = json.loads(rackctl(self.site, *words))
        assert request["outcome"] == "done", request["failure"]

    def await_login(self) -> None:
        self.site.wait_for(
            "the system to let its customer in",
            lambda: self.customer.run(self.lease, "true").returncode == 0,
            PATIENCE_S,
        )

    def power(self) -> str:
        return str(self.site.get(f"/servers/{SERVER}/power")["power"])


def _done(site: Site, verb: str, *options: str) -> None:
    """Request work on the server and wait for its outcome."""
    (item,) = json.loads(rackctl(site, "server", verb, SERVER, *options, "-o", "json"))["items"]
    assert item["request"]["outcome"] == "done", item


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
    rented.request("reinstall")
    assert rented.run(f"ls {MARK} 2>/dev/null; hostname") == "ada-1"
    assert rented.run(f"head -c 4 {DATA}") == "kept", "only the system's disk is erased"


def test_it_is_taken_back_as_any_other(rented: Rented) -> None:
    reason = ("--reason", "tests")
    rackctl(rented.site, "reservation", "release", rented.reservation, "--yes", *reason)
    rented.customer.await_refusal(rented.lease)
    left = rented.site.wait_for_state(SERVER, "available", timeout_s=PATIENCE_S)
    assert all(disk["sanitised"] for disk in left["disks"])


def test_an_operator_validates_wipes_and_images_a_server_in_maintenance(
    rented: Rented, tmp_path: Path
) -> None:
    site = rented.site
    _done(site, "maintain", "--reason", "new firmware")
    _done(site, "validate")
    _done(site, "wipe", "--yes")
    public_key = str(rented.customer.key.with_suffix(".pub"))
    _done(site, "image", "--image", IMAGE, "--key", public_key, "--yes")
    said = rackctl(site, "operation", "show", SERVER, "-o", "json")
    (host_key,) = re.findall(r"the host key is (ssh-ed25519 \S+)", said)
    address = rented.lease["address"]
    rented.customer.known_hosts.write_text(f"{address} {host_key}\n")
    assert rented.run("hostname") == SERVER


def test_a_server_that_an_operator_used_is_wiped_before_it_is_offered(rented: Rented) -> None:
    site = rented.site
    assert not any(disk["sanitised"] for disk in site.server(SERVER)["disks"])
    _done(site, "resume")
    left = site.wait_for_state(SERVER, "available", timeout_s=PATIENCE_S)
    assert all(disk["sanitised"] for disk in left["disks"])
    assert "incident" not in show(site, SERVER)
