"""What a page refers to is there: links, files, tests, and a reason for every dependency."""

import configparser
import re
from pathlib import Path

import pytest
from docs_pages import ROOT, all_code, pages, prose

_LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """What a heading can be linked by, as GitHub makes it."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in _LINK.findall(prose(page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target) if target else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(link)
    assert broken == []


def test_every_page_of_docs_is_in_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / link).resolve() for link in _LINK.findall(index.read_text())}
    missing = {page for page in pages() if page.is_relative_to(ROOT / "docs")} - linked - {index}
    assert missing == set()


def test_every_test_that_a_page_names_exists() -> None:
    named = {name for _, line in all_code() for name in re.findall(r"^test_\w+$", line)}
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert named - set(re.findall(r"def (test_\w+)", sources)) == set()


def test_every_source_file_that_a_page_names_exists() -> None:
    named = {
        line
        for page, line in all_code()
        if re.fullmatch(r"(?:[\w.-]+/)+[\w.-]+\.(?:py|yml|yaml|md)", line)
    }
    bases = (
        ROOT,
        ROOT / "provisioner",
        ROOT / "docs",
        ROOT / "playbooks",
        ROOT / "provisioner" / "service",
    )
    missing = {
        name
        for name in named - {"inventory/SITE/*.yaml"}
        if not any((base / name).exists() for base in bases)
    }
    assert missing == set()


def test_every_dependency_has_a_decision() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    required = {
        re.split(r"[\[<>=;]", line)[0] for line in setup["options"]["install_requires"].split()
    }
    decisions = "\n".join(p.read_text() for p in (ROOT / "docs" / "decisions").glob("*.md"))
    known = set(re.findall(r"[\w-]+", decisions.lower()))
    alias = {"ruamel.yaml": "yaml"}
    assert {name for name in required if alias.get(name, name) not in known} == set()
