"""Inventory files: what they become, and the line that each fault is traced to."""

import json
from pathlib import Path

import pytest

from provisioner.rackctl.errors import UsageFault
from provisioner.rackctl.inventory_files import read_inventory

GOOD = """\
site: lab
rack: r1
classes:
  - {name: small, title: Small, price_per_hour: "1.20", currency: EUR}
servers:
  - name: u1
    boot_mac: 52:54:00:77:00:01
    bmc: &bmc
      address: 10.0.0.1
      password: first-secret
  - name: u2
    bmc:
      <<: *bmc
      address: 10.0.0.2
    expect: {disks: [{serial: A}, {serial: B}]}
"""


def written(folder: Path, *texts: str | bytes) -> list[Path]:
    files = []
    for number, text in enumerate(texts):
        file = folder / f"rack{number}.yaml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        files.append(file)
    return files


@pytest.mark.parametrize(
    ("pointer", "line"),
    [
        ("/documents/0", 1),
        ("/documents/0/rack", 2),
        ("/documents/0/classes/0/price_per_hour", 4),
        ("/documents/0/servers/0", 6),
        ("/documents/0/servers/0/bmc/address", 9),
        ("/documents/0/servers/1/name", 11),
        ("/documents/0/servers/1/bmc/address", 14),
        ("/documents/0/servers/1/bmc/password", 10),
        ("/documents/0/servers/1/expect/disks/1/serial", 15),
        ("/documents/0/servers/1/serial", 11),
        ("/documents/0/servers/1/bmc/port/unknown", 12),
    ],
)
def test_every_pointer_leads_to_its_line_or_the_nearest_one(
    tmp_path: Path, pointer: str, line: int
) -> None:
    place = read_inventory(written(tmp_path, GOOD)).place(pointer)

    assert place is not None
    assert (place.file.name, place.line) == ("rack0.yaml", line)


def test_merge_keys_and_plain_values_become_json(tmp_path: Path) -> None:
    [document] = read_inventory(written(tmp_path, GOOD)).documents

    assert document["servers"][0]["boot_mac"] == "52:54:00:77:00:01"
    assert document["servers"][1]["bmc"] == {"address": "10.0.0.2", "password": "first-secret"}
    assert json.loads(json.dumps(document)) == document


def test_a_fault_names_the_other_place_too(tmp_path: Path) -> None:
    inventory = read_inventory(written(tmp_path, GOOD, GOOD))

    same_file = inventory.explain(
        "/documents/0/servers/1/bmc/address", "u1 has it (/documents/0/servers/0/bmc/address)"
    )
    other_file = inventory.explain(
        "/documents/1/servers/0/name", "u1 has it (/documents/0/servers/0/name)"
    )

    assert same_file == f"{tmp_path}/rack0.yaml:14: /servers/1/bmc/address: u1 has it (line 9)"
    assert other_file == (
        f"{tmp_path}/rack1.yaml:6: /servers/0/name: u1 has it ({tmp_path}/rack0.yaml:6)"
    )


def test_one_file_may_hold_several_documents(tmp_path: Path) -> None:
    inventory = read_inventory(written(tmp_path, "site: a\n---\nsite: b\nrack: r\n"))

    assert inventory.documents == [{"site": "a"}, {"site": "b", "rack": "r"}]
    assert inventory.explain("/documents/1/rack", "bad") == f"{tmp_path}/rack0.yaml:4: /rack: bad"


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("", "rack0.yaml: ", "is empty"),
        ("# only a remark\n", "rack0.yaml: ", "is empty"),
        ("- a\n- b\n", "rack0.yaml:1: ", "a mapping of site, rack, classes and servers"),
        ("site: a\n---\njust text\n", "rack0.yaml:3: ", "a mapping of site"),
        ("site: a\nservers: [\n", "rack0.yaml:3: ", "bad YAML"),
        ("site: a\n\tservers: x\n", "rack0.yaml:2: ", "bad YAML"),
        ("site: a\nrack: *nowhere\n", "rack0.yaml:2: ", "undefined alias"),
        ("site: a\nrack: b\nsite: c\n", "rack0.yaml:3: /site: ", "twice"),
        ("site: a\nrack: 2026-01-02\n", "rack0.yaml:2: /rack: ", "put it in quotes"),
        ("site: a\nrack: .nan\n", "rack0.yaml:2: /rack: ", "is not text"),
        ("site: a\nrack: !!int x\n", "rack0.yaml:2: /rack: ", "put it in quotes"),
        ("site: a\nrack: !secret x\n", "rack0.yaml:2: /rack: ", "put it in quotes"),
        ("site: a\nservers: &s\n  - *s\n", "rack0.yaml:", "contains itself"),
        ("site: &s {<<: *s}\n", "rack0.yaml:1: /site: ", "can only merge"),
        ("site: a\nrack: {<<: text}\n", "rack0.yaml:2: /rack: ", "can only merge"),
        ("site: a\n? [x]\n: y\n", "rack0.yaml:2: ", "a key must be text"),
        (b"site: a\nrack: \xff\n", "rack0.yaml:2: ", "not UTF-8"),
        (b"site: a\nrack: \x00\n", "rack0.yaml:2: ", "bad YAML"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(
    tmp_path: Path, text: str | bytes, place: str, reason: str
) -> None:
    with pytest.raises(UsageFault) as refused:
        read_inventory(written(tmp_path, text))

    assert any(f"{tmp_path}/{place}" in d and reason in d for d in refused.value.details), (
        refused.value.details
    )


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageFault) as refused:
        read_inventory([tmp_path / "absent.yaml"])

    assert refused.value.details == (
        f"{tmp_path}/absent.yaml: cannot be read: No such file or directory",
    )


def test_faults_of_all_files_are_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageFault) as refused:
        read_inventory(written(tmp_path, "- a\n", GOOD, "site: [\n"))

    assert len(refused.value.details) == 2


def bmc(text: str) -> str:
    return f"site: a\nservers:\n  - name: u1\n    bmc:\n{text}"


def test_a_password_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BMC_PASSWORD", "from-the-environment")

    inventory = read_inventory(written(tmp_path, bmc("      password_env: BMC_PASSWORD\n")))

    assert inventory.documents[0]["servers"][0]["bmc"] == {"password": "from-the-environment"}
    place = inventory.place("/documents/0/servers/0/bmc/password")
    assert place is not None
    assert place.line == 5


def test_a_password_file_is_beside_the_inventory_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from-the-file\nremark\n")

    inventory = read_inventory(written(tmp_path, bmc("      password_file: secret\n")))

    assert inventory.documents[0]["servers"][0]["bmc"] == {"password": "from-the-file"}


def test_a_servers_own_password_replaces_a_merged_password_file(tmp_path: Path) -> None:
    text = (
        "site: a\nservers:\n  - bmc: &bmc {password_file: secret}\n"
        "  - bmc: {<<: *bmc, password: own}\n"
    )
    (tmp_path / "secret").write_text("shared\n")

    [document] = read_inventory(written(tmp_path, text)).documents

    assert [server["bmc"]["password"] for server in document["servers"]] == ["shared", "own"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "      password_env: IRONLEASE_NOT_SET\n",
            ":5: /servers/0/bmc/password_env: IRONLEASE_NOT_SET: is not set in the environment",
        ),
        (
            "      password_file: absent\n",
            ":5: /servers/0/bmc/password_file: absent: No such file or directory",
        ),
        ("      password_file: empty\n", "its first line is empty"),
        ("      password_env: 7\n", "is not a name"),
        (
            "      password: x\n      password_env: Y\n",
            ":6: /servers/0/bmc: only one of password and password_env can be given",
        ),
    ],
)
def test_a_password_that_cannot_be_had_is_a_fault(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "empty").write_text("\n")

    with pytest.raises(UsageFault) as refused:
        read_inventory(written(tmp_path, bmc(text)))

    assert reason in refused.value.details[0]


@pytest.mark.parametrize(
    "text",
    [
        "      password: hunter2\n      password: hunter3\n",
        "      password: hunter2: x\n",
        "      password: 'hunter2\n",
        "      password: hunter2\n     x: y\n",
        "      password: !hunter2 hunter2\n",
        "      password: *hunter2\n",
        "      password: %hunter2\n",
        "      password: @hunter2\n",
        "      {password: hunter2\n",
    ],
)
def test_a_password_is_never_part_of_a_fault(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageFault) as refused:
        read_inventory(written(tmp_path, bmc(text)))

    said = " ".join([refused.value.reason, *refused.value.details])
    assert "hunter" not in said


def test_the_example_site_can_be_read() -> None:
    example = Path(__file__).parents[2] / "inventory" / "example"

    inventory = read_inventory(sorted(example.glob("*.yaml")))

    assert sum(len(document["servers"]) for document in inventory.documents) == 4
