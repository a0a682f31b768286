"""Files that would keep rackctl busy for ever, or take all memory, are refused."""

from pathlib import Path

import pytest

from provisioner.rackctl import files
from provisioner.rackctl.commands.catalogue import _read_description, read_public_key
from provisioner.rackctl.errors import UsageFault
from provisioner.rackctl.inventory_files import read_inventory

LEVELS = 30


def bomb(first: str, level: str) -> str:
    """A document in which each level has ten of the one before."""
    lines = [f"a0: &a0 {first}"]
    lines += [f"a{n}: &a{n} {level.replace('X', f'*a{n - 1}')}" for n in range(1, LEVELS)]
    return "\n".join(["site: s", "rack: r", *lines, ""])


BOMBS = {
    "lists": bomb("[x]", "[" + ", ".join(["X"] * 10) + "]"),
    "mappings": bomb("{k: x}", "{" + ", ".join(f"k{n}: X" for n in range(10)) + "}"),
    "merges": bomb("{k: x}", "{<<: [" + ", ".join(["X"] * 10) + "]}"),
    "empty merges": bomb("{}", "{<<: [" + ", ".join(["X"] * 10) + "]}"),
    "many documents": "---\n".join([bomb("[x]", "[" + ", ".join(["X"] * 3) + "]")] * 3),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_aliases_that_stand_for_billions_of_values_are_refused(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "rack.yaml"
    file.write_text(BOMBS[kind])
    with pytest.raises(UsageFault) as caught:
        read_inventory([file])
    assert "with what its aliases stand for" in caught.value.details[0]
    assert str(file) in caught.value.details[0]


def test_an_inventory_of_a_whole_site_with_aliases_is_read(tmp_path: Path) -> None:
    file = tmp_path / "rack.yaml"
    server = "  - {name: u%d, bmc: {<<: *bmc, address: 10.0.0.1}, expect: *all}\n"
    start = "site: s\nrack: r\nx: &bmc {port: 623, username: u}\ny: &all {cpus: 8, gpus: 8}\n"
    file.write_text(start + "servers:\n" + "".join(server % n for n in range(1000)))
    (document,) = read_inventory([file]).documents
    assert len(document["servers"]) == 1000
    assert document["servers"][-1]["bmc"]["port"] == 623


def test_an_endless_file_is_not_read_to_its_end() -> None:
    endless = Path("/dev/zero")
    with pytest.raises(UsageFault) as caught:
        read_inventory([endless])
    assert f"more than {files.LARGEST} bytes" in caught.value.details[0]
    for read in (read_public_key, _read_description):
        with pytest.raises(UsageFault, match="more than"):
            read(endless)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"name": "a", "name": "b", "title": "t"}', "'name' is given twice"),
        ('{"name": "a", "title": "t", "partition": [{"x": 1, "x": 2}]}', "'x' is given twice"),
        ("[" * 100_000, "nested too deeply"),
        ("{", "Expecting"),
    ],
)
def test_a_description_of_an_image_is_unambiguous_json(
    tmp_path: Path, text: str, reason: str
) -> None:
    file = tmp_path / "image.json"
    file.write_text(text)
    with pytest.raises(UsageFault, match=reason):
        _read_description(file)
