"""Faults on real machines end in a clear state and message, and heal by what the message says.

The message is on the page that `rackctl server show` prints. This is two servers' story, in order:
each test needs what those before it left. The first part runs with a boot limit that no machine can
meet, so that a server without DHCP is given up soon; what takes a machine long continues while the
next tests check the other one.
"""

from __future__ import annotations

import json
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loop_site import PATIENCE_S, log_lines, rackctl, run_rackctl, show, site_on_rack, steps

from lab import images
from lab.demo import CLASS, Customer
from lab.nvml import FakeNvml
from lab.nvml import build as build_nvml
from lab.rack.plan import BMC_PASSWORD, BMC_USER
from lab.site import Site

pytestmark = [pytest.mark.lab, pytest.mark.alone, pytest.mark.root, pytest.mark.timeout(900)]

FIRST, SECOND = "r1-u01", "r1-u02"
BAD_DISK = "IL02-B"
OWN_IMAGE = "own"
"""An image whose content the tests change; the lab's Debian stays as it is."""
NVML_STATE = "/run/nvml"
GPUS = 8
TOO_LARGE = 3 << 30
"""Bytes; the disks have 2 GiB."""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with site_on_rack(2, "ilk1", boot_limit_s="8") as site:
        yield site


@pytest.fixture(scope="module")
def customers(site: Site, tmp_path_factory: pytest.TempPathFactory) -> tuple[Customer, Customer]:
    keys = tmp_path_factory.mktemp("keys")
    return Customer(site, "ada", keys), Customer(site, "grace", keys)


@pytest.fixture(scope="module")
def booked() -> dict[str, str]:
    """Reservations, by server."""
    return {}


def shown_when(site: Site, server: str, *said: str) -> str:
    """Return the server's page once it says all of this."""

    def page() -> str:
        text = show(site, server)
        return text if all(part in text for part in said) else ""

    return site.wait_for(f"{server} to say {said}", page, PATIENCE_S)


def server_of(site: Site, reservation: str) -> str:
    return str(site.get(f"/reservations/{reservation}")["lease"]["server"])


def library_folder(site: Site) -> Path:
    (image,) = (each for each in site.get("/images")["items"] if each["name"] == OWN_IMAGE)
    return site.folder / "data/images" / str(image["digest"])


def import_image(site: Site, path: Path) -> None:
    """Give the tests' own image new content."""
    described = json.loads((images.tenant() / "image.json").read_text())
    described.pop("name")
    title = described.pop("title")
    site.import_image(path, OWN_IMAGE, title, described)


def retry(site: Site, server: str) -> None:
    """Retry now, unless it was just retried automatically."""
    ran = run_rackctl(site, "server", "retry", server)
    assert ran.returncode == 0 or "parked" in ran.stderr, ran.stderr


def test_an_unreachable_bmc_is_told_with_its_address(site: Site) -> None:
    document = site.rack.inventory()
    document["servers"][0]["bmc"]["password"] = "mistyped"
    site.rack.bmc_fault(FIRST, "drop")
    site.rack.set_dhcp(SECOND, answered=False)
    site.post("/enrolments", {"documents": [document]})
    page = shown_when(site, FIRST, "does not answer", "inspect/power_off")
    assert site.rack.plan.server(FIRST).bmc_address in page


def test_a_refused_bmc_login_parks_the_server_and_names_the_command(site: Site) -> None:
    site.rack.bmc_fault(FIRST, None)
    page = shown_when(
        site, FIRST, "refuses the login", "parked", "Open incidents", "rackctl server set-bmc"
    )
    assert "mistyped" not in page


def test_a_server_without_dhcp_is_given_up_after_three_boots_and_left_off(site: Site) -> None:
    remedy = f"rackctl server repaired {SECOND}"
    page = shown_when(site, SECOND, "quarantined", "no DHCP request", "3 boots tried", remedy)
    assert site.rack.plan.server(SECOND).mac in page
    assert site.rack.server_status(SECOND)["power"] == "off"
    assert site.rack.server_status(SECOND)["starts"] == 3


def test_a_provisioner_with_other_limits_goes_on_where_it_stands(site: Site) -> None:
    site.stop()
    site.environment["IRONLEASE_BOOT_LIMIT_S"] = "240"
    site.start()
    assert site.server(SECOND)["state"] == "quarantined"


def test_set_bmc_heals_a_refused_login(site: Site) -> None:
    site.rack.set_dhcp(SECOND, answered=True)
    site.rack.disk_fault(SECOND, BAD_DISK, "fill")
    rackctl(site, "server", "repaired", SECOND, "--reason", "plugged into the right network")
    options = ["--username", BMC_USER, "--password-stdin"]
    rackctl(site, "server", "set-bmc", FIRST, *options, given=f"{BMC_PASSWORD}\n")
    site.wait_for_state(FIRST, "available", timeout_s=PATIENCE_S)
    assert "incident" not in show(site, FIRST)


def test_a_disk_that_fails_writes_is_quarantined_by_its_serial(site: Site) -> None:
    shown_when(site, SECOND, "quarantined", BAD_DISK, "replace the disk")
    assert not any(disk["sanitised"] for disk in site.server(SECOND)["disks"])


def test_a_repaired_server_is_wiped_and_offered(site: Site) -> None:
    site.rack.disk_fault(SECOND, BAD_DISK, None)
    rackctl(site, "server", "repaired", SECOND, "--reason", "disk replaced")


def test_a_key_that_is_no_key_is_refused_and_reserves_nothing(site: Site, tmp_path: Path) -> None:
    no_key = tmp_path / "no_key.pub"
    no_key.write_text("ssh-ed25519 AAAA-not-base64 ada@example.org\n")
    options = ["--class", CLASS, "--image", "debian-12", "--for", "1h", "--key", str(no_key)]
    refused = run_rackctl(site, "reserve", *options)
    assert refused.returncode != 0
    assert "key" in refused.stderr
    assert site.get("/reservations")["items"] == []


def test_an_image_that_is_not_offered_is_refused(
    site: Site, customers: tuple[Customer, ...]
) -> None:
    key = str(customers[0].key.with_suffix(".pub"))
    options = ["--class", CLASS, "--image", "solaris", "--for", "1h", "--key", key]
    refused = run_rackctl(site, "reserve", *options)
    assert refused.returncode != 0
    assert "there is no image 'solaris'" in refused.stderr


def test_an_image_larger_than_the_disk_is_told_with_both_sizes(
    site: Site, customers: tuple[Customer, ...], booked: dict[str, str], tmp_path: Path
) -> None:
    large = tmp_path / "large.raw"
    subprocess.run(["cp", "--sparse=always", images.tenant() / "disk.raw", large], check=True)
    with large.open("r+b") as file:
        file.truncate(TOO_LARGE)
    import_image(site, large)
    booked[FIRST] = customers[0].reserve(7200, OWN_IMAGE)
    assert server_of(site, booked[FIRST]) == FIRST
    sizes = (f"needs {TOO_LARGE}", str(2 << 30))
    shown_when(site, FIRST, "parked", *sizes, "choose a smaller image")


def test_a_machine_dies_while_it_is_imaged(
    site: Site, customers: tuple[Customer, ...], booked: dict[str, str]
) -> None:
    """The result is checked further below: it takes its time."""
    site.wait_for_state(SECOND, "available", timeout_s=PATIENCE_S)
    booked[SECOND] = customers[1].reserve(7200)
    assert server_of(site, booked[SECOND]) == SECOND

    def half_written() -> bool:
        operation = site.server(SECOND)["operation"]
        return operation is not None and any(
            "% written" in line["text"] for line in log_lines(site, operation["id"])
        )

    site.wait_for("half an image", half_written, PATIENCE_S)
    site.rack.kill(SECOND)


def test_a_missing_image_is_told(site: Site) -> None:
    import_image(site, images.tenant() / "disk.raw")
    (library_folder(site) / "chunks").rename(library_folder(site) / "mislaid")
    retry(site, FIRST)
    shown_when(site, FIRST, "parked", "missing from the image library", "import the image again")


def test_a_corrupt_image_is_told_by_the_number_of_its_chunk(site: Site) -> None:
    mislaid = library_folder(site) / "mislaid"
    damaged = bytearray((mislaid / "7").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (mislaid / "7").write_bytes(damaged)
    mislaid.rename(library_folder(site) / "chunks")
    retry(site, FIRST)
    shown_when(site, FIRST, "parked", "chunk 7 is corrupt", "import the image again")


def test_importing_the_image_again_heals_it(
    site: Site, customers: tuple[Customer, ...], booked: dict[str, str]
) -> None:
    import_image(site, images.tenant() / "disk.raw")
    retry(site, FIRST)
    lease = customers[0].await_ready(booked[FIRST])
    assert customers[0].must_run(lease, "hostname").strip() == "ada-1"
    assert "incident" not in show(site, FIRST)


def test_the_machine_that_died_is_booted_and_imaged_again(
    site: Site, customers: tuple[Customer, ...], booked: dict[str, str]
) -> None:
    lease = customers[1].await_ready(booked[SECOND])
    assert customers[1].must_run(lease, "hostname").strip() == "grace-1"
    assert lease["server"] == SECOND
    imaged = [each for each in steps(site, SECOND) if each["step"] == "write_image"]
    assert imaged[0]["outcome"] == "failed"
    assert "could not be reached by SSH" in imaged[0]["detail"]
    assert imaged[-1]["outcome"] == "done"


def test_a_tenant_system_lost_after_kexec_is_started_through_firmware_from_its_disk(
    site: Site, customers: tuple[Customer, ...], booked: dict[str, str]
) -> None:
    """The machine loses power between the kexec and its first answer on SSH."""
    site.stop()
    site.environment["IRONLEASE_TENANT_BOOT_LIMIT_S"] = "15"
    site.start()
    site.post(f"/reservations/{booked[SECOND]}/release")
    site.wait_for_state(SECOND, "available", timeout_s=PATIENCE_S)
    booked[SECOND] = customers[1].reserve(7200)

    def starts() -> bool:
        operation = site.server(SECOND)["operation"]
        return operation is not None and operation["step"] == "await_tenant"

    site.wait_for("the kexec", starts, PATIENCE_S)
    site.rack.kill(SECOND)
    lease = customers[1].await_ready(booked[SECOND])
    assert lease["server"] == SECOND
    # Only a boot loader names the kernel's file on the command line; kexec does not.
    assert "BOOT_IMAGE=" in customers[1].must_run(lease, "cat /proc/cmdline")
    imaged = [each for each in steps(site, SECOND) if each["step"] == "write_image"]
    assert [each["outcome"] for each in imaged].count("done") == 2, "it was imaged once more"


def give_gpus(customer: Customer, lease: Any, fake: FakeNvml) -> None:
    """Give the leased server GPUs, as its agent sees it: the driver's library is the fake."""
    library = build_nvml() / "libnvidia-ml.so.1"
    put(customer, lease, library, "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1")
    put(customer, lease, fake.file, NVML_STATE)
    customer.must_run(
        lease,
        f"systemctl set-environment IRONLEASE_NVML_STATE={NVML_STATE}"
        " && systemctl restart ironlease-agent.service",
    )


def put(customer: Customer, lease: Any, file: Path, where: str) -> None:
    content = b64encode(file.read_bytes()).decode()
    command = f"echo {content} | base64 --decode > {where}.new && mv {where}.new {where}"
    customer.must_run(lease, command)


def test_a_gpu_lost_under_a_lease_is_told_to_customer_and_operator(
    site: Site, customers: tuple[Customer, ...], booked: dict[str, str], tmp_path: Path
) -> None:
    grace, fake = customers[1], FakeNvml(tmp_path / "nvml")
    lease = site.get(f"/reservations/{booked[SECOND]}")["lease"]
    give_gpus(grace, lease, fake)

    def health(level: str) -> Any:
        said = site.get(f"/reservations/{booked[SECOND]}/health")
        return said if said["level"] == level and len(said["gpus"]) == GPUS else None

    site.wait_for("eight sound GPUs", lambda: health("ok"), PATIENCE_S)
    fake.lose(3)
    put(grace, lease, fake.file, NVML_STATE)
    said = site.wait_for("the lost GPU", lambda: health("faulty"), PATIENCE_S)
    assert "GPU 3" in said["summary"]
    assert [incident["summary"] for incident in said["incidents"]] == [said["summary"]]
    assert [outage["ended_at"] for outage in said["outages"]] == [None]
    assert "GPU 3" in rackctl(site, "server", "health", SECOND)
    assert SECOND in rackctl(site, "gpu", "list", "--bad")
    assert site.server(SECOND)["state"] == "leased"


def test_its_customer_gets_another_server_and_the_faulty_one_is_kept_out(
    site: Site, customers: tuple[Customer, ...], booked: dict[str, str]
) -> None:
    site.post(f"/reservations/{booked[FIRST]}/release")
    site.wait_for_state(FIRST, "available", timeout_s=PATIENCE_S)
    site.post(f"/reservations/{booked[SECOND]}/swap")
    lease = customers[1].await_ready(booked[SECOND])
    assert lease["server"] == FIRST
    assert customers[1].must_run(lease, "hostname").strip() == "grace-1"
    shown_when(site, SECOND, "quarantined", "GPU 3", f"rackctl server repaired {SECOND}")


def test_every_fault_is_kept_in_the_steps_of_its_operation(site: Site) -> None:
    failed = [each for each in steps(site, FIRST) if each["outcome"] == "failed"]
    told = [f"{each['verb']}/{each['step']}: {each['detail']}" for each in failed]
    for part in ("does not answer", "refuses the login", f"needs {TOO_LARGE}", "chunk 7"):
        assert any(part in each for each in told), told
