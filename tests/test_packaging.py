"""What Ironlease needs is declared and locked, and the files it reads are installed."""

import ast
import configparser
import re
import sys
import tomllib
from fnmatch import fnmatch
from importlib import metadata
from itertools import pairwise
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
OURS = {"provisioner", "agent"}


def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def distribution(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\s\[<>=!~;(]", requirement)[0]).lower()


def declared() -> set[str]:
    """Return the required distributions, and what those require themselves, here."""
    there = {distribution(str(d.metadata["Name"])): d for d in metadata.distributions()}
    known: set[str] = set()
    wanted = [distribution(line) for line in setup()["options"]["install_requires"].split()]
    while wanted:
        name = wanted.pop()
        if name in there and name not in known:
            known.add(name)
            wanted += [distribution(r) for r in there[name].requires or () if "extra" not in r]
    return known


def test_every_library_that_is_imported_is_required() -> None:
    imported = set()
    for path in [*(ROOT / "provisioner").rglob("*.py"), *(ROOT / "agent").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.partition(".")[0])
    provided_by = metadata.packages_distributions()
    required = declared()
    missing = {
        name
        for name in imported - OURS - sys.stdlib_module_names
        if not required & {distribution(d) for d in provided_by.get(name, ())}
    }
    assert missing == set()


def test_every_file_that_is_read_at_run_time_is_installed() -> None:
    data = {
        ROOT / package.replace(".", "/"): patterns.replace(",", " ").split()
        for package, patterns in setup()["options.package_data"].items()
    }
    files = {
        path
        for folder in ("provisioner", "agent", "playbooks")
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
        and path.suffix not in (".py", ".pyc")
        and path.name != "ruff.toml"
        and "/." not in str(path.relative_to(ROOT))
    }
    installed = {
        path
        for path in files
        for folder, patterns in data.items()
        if path.is_relative_to(folder)
        and any(fnmatch(str(path.relative_to(folder)), pattern) for pattern in patterns)
    }
    assert files - installed == set()


def locked() -> dict[str, list[str]]:
    """Return the versions in requirements.lock by name; markers choose among several."""
    versions: dict[str, list[str]] = {}
    for line in LOCK.read_text().splitlines():
        if found := re.match(r"([a-z0-9][a-z0-9.-]*)==(\S+)", line):
            versions.setdefault(distribution(found[1]), []).append(found[2])
    return versions


def ranges() -> list[Requirement]:
    """Return what setup.cfg asks for, for running and for development."""
    parser = setup()
    lines = parser["options"]["install_requires"] + parser["options.extras_require"]["dev"]
    return [Requirement(line) for line in lines.splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("asked", ranges(), ids=lambda asked: asked.name)
def test_the_lock_is_within_the_ranges_of_setup_cfg(asked: Requirement) -> None:
    versions = locked().get(distribution(asked.name), [])
    assert versions, f"{asked.name} is not in requirements.lock: make lock"
    outside = [version for version in versions if version not in asked.specifier]
    assert outside == [], f"setup.cfg asks for {asked}: make lock"


def test_the_lock_builds_the_project_as_pyproject_asks() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    for asked in map(Requirement, build):
        assert all(version in asked.specifier for version in locked()[asked.name])


def test_every_locked_version_has_hashes_and_names_no_place() -> None:
    lines = LOCK.read_text().splitlines()
    for line, following in pairwise(lines):
        if "==" in line and not line.lstrip().startswith("#"):
            assert following.lstrip().startswith("--hash=sha256:"), line
    assert [line for line in lines if "://" in line or "index-url" in line] == []


def test_what_locked_distributions_require_themselves_is_locked_too() -> None:
    there = {distribution(str(d.metadata["Name"])): d for d in metadata.distributions()}
    missing = {
        (name, needed.name)
        for name in locked()
        if name in there
        for needed in map(Requirement, there[name].requires or ())
        if (needed.marker is None or needed.marker.evaluate({"extra": ""}))
        and distribution(needed.name) not in locked()
    }
    assert missing == set()
