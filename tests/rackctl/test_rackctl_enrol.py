"""rackctl enrol against the real service: all or nothing, every fault at its line."""

import json
from pathlib import Path

import pytest
from rackctl_service import Rackctl

SITE = """\
site: lab
rack: r9
classes:
  - {name: small, title: Small, price_per_hour: "1.20", currency: EUR}
servers:
  - name: r9-u01
    class: small
    serial: SN1
    boot_mac: "52:54:00:99:00:01"
    address: 10.77.9.11
    bmc: {address: 10.78.9.11, username: admin, password: hunter2}
  - name: r9-u02
    class: small
    serial: SN2
    boot_mac: "52:54:00:99:00:02"
    address: 10.77.9.12
    bmc: {address: 10.78.9.12, username: admin, password: hunter2}
"""


def names(rackctl: Rackctl) -> list[str]:
    listed = json.loads(rackctl("server", "list", "--rack", "r9", "-o", "json").out)
    return [server["name"] for server in listed["items"]]


def test_servers_are_enrolled_and_enrolling_again_changes_nothing(
    rackctl: Rackctl, tmp_path: Path
) -> None:
    file = tmp_path / "r9.yaml"
    file.write_text(SITE)

    first = rackctl("enrol", str(file))
    again = rackctl("enrol", str(file), "-o", "json")

    assert first.code == 0, first.err
    assert "r9-u01  created" in first.out
    assert json.loads(again.out) == {
        "created": [],
        "updated": [],
        "unchanged": ["r9-u01", "r9-u02"],
    }


def test_a_dry_run_changes_nothing(rackctl: Rackctl, tmp_path: Path) -> None:
    file = tmp_path / "r9.yaml"
    file.write_text(SITE)

    ran = rackctl("enrol", "--dry-run", str(file))

    assert ran.code == 0
    assert "created" in ran.out
    assert "nothing was changed" in ran.err
    assert names(rackctl) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("10.78.9.12", "10.78.9.11", "r9.yaml:17: /servers/1/bmc/address: duplicate BMC address"),
        ("10.78.9.12", "10.78.9.11", "r9-u01 has it (line 11)"),
        ("10.78.9.12", "10.78.0.11", "r9.yaml:17: /servers/1/bmc/address: "),
        ("10.78.9.12", "10.78.0.11", "belongs to r1-u01"),
        ("99:00:02", "99:00:01", "r9.yaml:15: /servers/1/boot_mac: duplicate boot MAC"),
        ("52:54:00:99:00:02", "52:54:00", "r9.yaml:15: /servers/1/boot_mac: "),
        ("serial: SN2", "serial: 42", "r9.yaml:14: /servers/1/serial: "),
        ("serial: SN2", "seriel: SN2", "r9.yaml:14: /servers/1/seriel: "),
        ("serial: SN2", "seriel: SN2", "r9.yaml:12: /servers/1/serial: "),
        ("    class: small\n    serial: SN2", "    class: big\n    serial: SN2", "r9.yaml:13: "),
        ('"1.20"', "1.20", "r9.yaml:4: /classes/0/price_per_hour: "),
        ("site: lab", "sight: lab", "r9.yaml:1: /sight: "),
        ("10.77.9.12", "10.77.9", "r9.yaml:16: /servers/1/address: "),
    ],
)
def test_what_the_service_finds_wrong_is_shown_at_its_line_and_nothing_is_changed(
    rackctl: Rackctl, tmp_path: Path, old: str, new: str, said: str
) -> None:
    file = tmp_path / "r9.yaml"
    file.write_text(SITE.replace(old, new))

    ran = rackctl("enrol", str(file))

    assert ran.code == 1
    assert said in ran.err
    assert "hunter2" not in ran.err
    assert names(rackctl) == []


def test_a_duplicate_in_another_file_is_named_with_its_file(
    rackctl: Rackctl, tmp_path: Path
) -> None:
    one, two = tmp_path / "a.yaml", tmp_path / "b.yaml"
    one.write_text(SITE)
    two.write_text("site: lab\nrack: r9\nservers:\n" + SITE.partition("servers:\n")[2])

    ran = rackctl("enrol", str(one), str(two))

    assert f"{two}:4: /servers/0/name: duplicate name r9-u01" in ran.err
    assert f"({one}:6)" in ran.err


def test_nothing_is_sent_while_a_file_cannot_be_read(bare_rackctl: Rackctl, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(SITE)
    bad.write_text("site: [\n")

    # Nobody is logged in and nothing listens: only the file can be at fault.
    ran = bare_rackctl("enrol", str(good), str(bad))

    assert ran.code == 2
    assert f"{bad}:2: bad YAML" in ran.err
    assert "nothing was sent" in ran.err


def test_the_example_site_is_accepted(rackctl: Rackctl) -> None:
    example = Path(__file__).parents[2] / "inventory" / "example"

    ran = rackctl("enrol", *map(str, sorted(example.glob("*.yaml"))), "-o", "json")

    assert ran.code == 0, ran.err
    assert len(json.loads(ran.out)["created"]) == 4
