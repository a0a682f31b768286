"""What an installed Ironlease needs is declared, and the files it reads are installed."""

import ast
import configparser
import re
import sys
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
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
