"""rackctl reserve, reservation and ssh against the real service; ssh itself is a script."""

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rackctl_fleet import CLASS, CUSTOMER
from rackctl_service import Rackctl, Service
from sqlmodel import select

from lab.simulated.disk_image import write_disk_image
from provisioner.domain.lifecycle import State
from provisioner.rackctl.client import Api
from provisioner.rackctl.commands.reserve import send
from provisioner.rackctl.errors import Unreachable
from provisioner.store.columns import utc_now
from provisioner.store.tables import Lease, Server

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHostKey"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    public = Ed25519PrivateKey.generate().public_key()
    line = public.public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    ).decode()
    file = tmp_path / "id_ed25519.pub"
    file.write_text(f"{line} ada@laptop\n")
    return file


async def hand_over(service: Service) -> None:
    """Do what the reconciler does at the end of imaging."""
    async with service.database.write() as session:
        lease = (await session.exec(select(Lease))).one()
        lease.host_key = HOST_KEY
        lease.ready_at = utc_now()


def reserve(rackctl: Rackctl, key_file: Path, *more: str) -> dict[str, object]:
    ran = rackctl(
        *("reserve", "--class", CLASS, "--image", "debian-12", "--for", "2h"),
        *("--key", str(key_file), "-o", "json", *more),
    )
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def test_an_operator_reserves_on_behalf_of_a_customer(rackctl: Rackctl, key_file: Path) -> None:
    made = reserve(rackctl, key_file, "--account", CUSTOMER, "--hostname", "ada-1")
    accounts = json.loads(rackctl("account", "list", "-o", "json").out)["items"]

    [ada] = [account for account in accounts if account["email"] == CUSTOMER]
    assert made["account"] == ada["id"]
    assert made["hostname"] == "ada-1"
    assert made["lease"]["server"] == "r1-u01"
    assert "r1-u01" in rackctl("reservation", "list").out


def test_a_key_file_of_ones_own_is_registered_once(rackctl: Rackctl, key_file: Path) -> None:
    made = reserve(rackctl, key_file)
    rackctl("reservation", "release", made["id"], "--yes", "--no-wait")
    rackctl(
        *("reserve", "--class", CLASS, "--image", "debian-12", "--for", "2h"),
        *("--key", str(key_file)),
    )
    keys = json.loads(rackctl("key", "list", "-o", "json").out)["items"]

    assert [key["name"] for key in keys] == ["ada@laptop"]


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--class", "no-such"), 1, "there is no server class 'no-such'"),
        (("--image", "no-such"), 1, "there is no image 'no-such'"),
        (("--for", "soon"), 2, "90m, 2h or 1d12h"),
        (("--for", "2s"), 1, "/duration_s"),
        (("--key", "no-such-key"), 1, "/ssh_keys/1"),
        (("--key", "./absent.pub"), 2, "cannot be read"),
        (("--user-data", "./absent"), 2, "cannot be read"),
        (("--hostname", "not a name"), 1, "/hostname"),
        (("--account", "nobody@example.com"), 1, "no active account"),
    ],
)
def test_what_is_wrong_in_a_request_is_said(
    rackctl: Rackctl, key_file: Path, options: tuple[str, ...], code: int, said: str
) -> None:
    ran = rackctl(
        *("reserve", "--class", CLASS, "--image", "debian-12", "--for", "2h"),
        *("--key", str(key_file), *options),
    )

    assert ran.code == code
    assert said in " ".join(ran.err.split())


def test_without_a_free_server_the_reservation_is_refused(rackctl: Rackctl, key_file: Path) -> None:
    reserve(rackctl, key_file)

    ran = rackctl(
        *("reserve", "--class", CLASS, "--image", "debian-12", "--for", "2h"),
        *("--key", str(key_file)),
    )

    assert ran.code == 1
    assert "no server of class 'lab-2nvme' is free now" in ran.err


def test_a_private_key_never_leaves_the_machine(rackctl: Rackctl, tmp_path: Path) -> None:
    private = tmp_path / "id"
    private.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n")

    ran = rackctl("key", "add", str(private))

    assert ran.code == 2
    assert f"use the public key: {private}.pub" in ran.err
    assert "hunter2" not in ran.err


def test_waiting_ends_when_one_can_log_in(
    rackctl: Rackctl, service: Service, key_file: Path
) -> None:
    async def soon() -> None:
        found = None
        while found is None:
            async with service.database.read() as session:
                found = (await session.exec(select(Lease))).one_or_none()
        await hand_over(service)

    service.background.start(soon())
    made = reserve(rackctl, key_file, "--wait")

    assert made["lease"]["state"] == "ready"
    assert made["lease"]["ssh_command"] == "ssh root@10.77.0.11"


def test_waiting_that_runs_out_of_time_exits_with_4_and_goes_on(
    rackctl: Rackctl, key_file: Path
) -> None:
    ran = rackctl(
        *("reserve", "--class", CLASS, "--image", "debian-12", "--for", "2h"),
        *("--key", str(key_file), "--wait", "--timeout", "0s"),
    )

    assert ran.code == 4
    assert "the provisioner continues with it" in ran.err
    assert "preparing" in rackctl("reservation", "list").out


def test_waiting_for_what_ends_meanwhile_fails(
    rackctl: Rackctl, service: Service, key_file: Path
) -> None:
    async def soon() -> None:
        found = None
        while found is None:
            async with service.database.read() as session:
                found = (await session.exec(select(Lease))).one_or_none()
        async with service.database.write() as session:
            (await session.get_one(Lease, found.id)).ends_at = utc_now()

    service.background.start(soon())
    ran = rackctl(
        *("reserve", "--class", CLASS, "--image", "debian-12", "--for", "2h"),
        *("--key", str(key_file), "--wait"),
    )

    assert ran.code == 1
    assert "ended before it was ready" in ran.err


async def lease_out(service: Service) -> None:
    """Handed over, and the reconciler has seen it."""
    await hand_over(service)
    async with service.database.write() as session:
        lease = (await session.exec(select(Lease))).one()
        (await session.get_one(Server, lease.server_id)).state = State.LEASED


@pytest.mark.parametrize("command", ["start", "stop", "reboot", "power-cycle"])
def test_power_of_a_reserved_server_is_requested(
    rackctl: Rackctl, service: Service, key_file: Path, command: str
) -> None:
    made = reserve(rackctl, key_file)
    service.background.run(lease_out(service))

    options = ("--no-wait", "-o", "json", *(("--yes",) if command != "start" else ()))
    ran = rackctl("reservation", command, str(made["id"]), *options)

    verb = command.replace("-", "_")
    assert json.loads(ran.out)["verb"] == verb
    assert verb in rackctl("reservation", "requests", str(made["id"])).out


def test_a_server_is_reinstalled_only_when_confirmed(
    rackctl: Rackctl, service: Service, key_file: Path
) -> None:
    made = reserve(rackctl, key_file)
    service.background.run(lease_out(service))
    reinstall = ("reservation", "reinstall", str(made["id"]), "--image", "debian-12")

    assert rackctl(*reinstall, typed="y").code == 1
    assert rackctl(*reinstall).code == 2
    assert (
        json.loads(rackctl("reservation", "requests", made["id"], "-o", "json").out)["items"] == []
    )
    assert (
        json.loads(rackctl(*reinstall, "--yes", "--no-wait", "-o", "json").out)["verb"]
        == "reinstall"
    )


def test_a_swap_without_another_server_is_refused(rackctl: Rackctl, key_file: Path) -> None:
    made = reserve(rackctl, key_file)
    ran = rackctl("reservation", "swap", str(made["id"]), "--yes")

    assert ran.code == 1
    assert "no other server of class" in ran.err


def test_nobody_logs_in_to_a_released_reservation(rackctl: Rackctl, key_file: Path) -> None:
    made = reserve(rackctl, key_file)
    rackctl("reservation", "release", str(made["id"]), "--yes", "--no-wait")

    ran = rackctl("ssh", str(made["id"]))

    assert ran.code == 1
    assert "login is not possible" in ran.err


def test_a_lost_answer_is_asked_for_again_with_the_same_key() -> None:
    class Losing(Api):
        def __init__(self) -> None:
            self.keys: list[str] = []

        def call(self, method: str, address: str, **request: object) -> dict[str, object]:
            headers = request["headers"]
            assert isinstance(headers, dict)
            self.keys.append(headers["Idempotency-Key"])
            if len(self.keys) < 3:
                raise Unreachable("the answer was lost")
            return {"id": "res_1"}

    api = Losing()

    assert send(api, "/v1/reservations", {}) == {"id": "res_1"}
    assert len(api.keys) == 3
    assert len(set(api.keys)) == 1


def test_ssh_pins_the_issued_host_key_and_exits_as_ssh_does(
    rackctl: Rackctl, service: Service, key_file: Path, tmp_path: Path, home: Path
) -> None:
    made = reserve(rackctl, key_file)
    service.background.run(hand_over(service))
    fake = tmp_path / "bin" / "ssh"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nexit 7\n')
    fake.chmod(0o755)

    ran = subprocess.run(
        [
            *(sys.executable, "-m", "provisioner.rackctl", "ssh", str(made["id"])),
            *("-i", "key", "--", "lsblk", "-d"),
        ],
        env={**os.environ, "PATH": f"{fake.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )

    arguments = ran.stdout.splitlines()
    known_hosts = home / ".config" / "ironlease" / "known_hosts" / str(made["lease"]["id"])
    assert ran.returncode == 7, ran.stderr
    assert arguments[-6:] == ["-i", "key", "--", "root@10.77.0.11", "lsblk", "-d"]
    assert "-oStrictHostKeyChecking=yes" in arguments
    assert f'-oUserKnownHostsFile="{known_hosts}"' in arguments
    assert known_hosts.read_text() == f"10.77.0.11 {HOST_KEY}\n"


def test_certificates_of_a_reservation_are_listed(rackctl: Rackctl, key_file: Path) -> None:
    made = reserve(rackctl, key_file)

    ran = rackctl("reservation", "certificates", str(made["id"]), "-o", "json")

    assert json.loads(ran.out)["items"] == []


def test_classes_and_images_are_listed(rackctl: Rackctl) -> None:
    assert "1.20 EUR" in rackctl("class", "list").out
    assert "402 MB" in rackctl("image", "list").out


@pytest.fixture
def description(tmp_path: Path) -> Path:
    boot = {"partition": 1, "kernel": "/boot/vmlinuz", "cmdline": "/boot/cmdline", "user": "root"}
    file = tmp_path / "image.json"
    file.write_text(json.dumps({"name": "tiny", "title": "Tiny system", **boot}))
    return file


def test_an_image_is_imported_with_its_description(
    rackctl: Rackctl, tmp_path: Path, description: Path
) -> None:
    write_disk_image(tmp_path / "import" / "disk.raw", b"a system")

    ran = rackctl("image", "import", "disk.raw", "--description", str(description))

    assert ran.code == 0, ran.err
    assert "Tiny system" in rackctl("image", "list").out


def test_an_image_that_is_not_there_is_refused(rackctl: Rackctl, description: Path) -> None:
    ran = rackctl("image", "import", "/nowhere/disk.raw", "--description", str(description))

    assert ran.code == 1
    assert "'/nowhere/disk.raw' is no regular file in" in ran.err


def test_an_image_without_a_description_is_not_sent(rackctl: Rackctl, tmp_path: Path) -> None:
    description = tmp_path / "image.json"
    description.write_text('{"name": "x"}')

    ran = rackctl("image", "import", "/srv/disk.raw", "--description", str(description))

    assert ran.code == 2
    assert "name, title" in ran.err


def test_a_reservation_is_extended(rackctl: Rackctl, key_file: Path) -> None:
    made = reserve(rackctl, key_file)
    ran = rackctl("reservation", "extend", str(made["id"]), "--by", "1h30m", "-o", "json")
    assert ran.code == 0, ran.err
    before, after = (datetime.fromisoformat(str(r["ends_at"])) for r in (made, json.loads(ran.out)))
    assert after - before == timedelta(hours=1, minutes=30)
    ran = rackctl("reservation", "extend", str(made["id"]), "--by", "366d")
    assert ran.code == 1
    assert "at most 366 days" in ran.err
