"""What pages refer to exists: links, files, tests, and a reason for every dependency."""

import ast
import configparser
import io
import re
import tokenize
from pathlib import Path

import pytest
from docs_pages import ROOT, all_code, pages, prose

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_BASES = (
    ROOT,
    ROOT / "provisioner",
    ROOT / "docs",
    ROOT / "playbooks",
    ROOT / "provisioner" / "service",
)
"""What the name of a file may be relative to."""
SOURCES = ("provisioner", "agent", "playbooks", "lab", "bench", "docs", "inventory", "tests")
_FILE = re.compile(
    r"(?<![\w./<>{}$-])((?:[\w.-]+/)*[\w-][\w.-]*\.(?:py|md|yml|yaml|cfg|sql|html|js|css))\b(?![\w/(])"
)
_MODULE = re.compile(r"`((?:provisioner|agent|playbooks|lab|bench)(?:\.\w+)+)`")


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def is_there(name: str, *nearby: Path) -> bool:
    return any((base / name).exists() for base in (*_BASES, *nearby))


def is_module(name: str) -> bool:
    """Is it a module or a package, or a name in one?"""
    path = ROOT
    for word in name.split("."):
        if (path / word).is_dir():
            path /= word
        elif (path / f"{word}.py").exists():
            path /= f"{word}.py"
        else:
            source = (path / "__init__.py" if path.is_dir() else path).read_text()
            return re.search(rf"\b{word}\b", source) is not None
    return True


def docstrings(source: str) -> list[str]:
    """Of modules, classes, functions and attributes."""
    return [
        node.value.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]


def comments(source: str) -> list[str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [token.string for token in tokens if token.type == tokenize.COMMENT]


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
    assert {name for name in named - {"inventory/SITE/*.yaml"} if not is_there(name)} == set()


@pytest.mark.parametrize("folder", SOURCES)
def test_every_file_and_module_that_a_docstring_or_comment_names_exists(folder: str) -> None:
    missing = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        text = path.read_text()
        nearby = [parent for parent in path.parents if parent.is_relative_to(ROOT)]
        for told in [*docstrings(text), *comments(text)]:
            names = [name for name in _FILE.findall(told) if not is_there(name, *nearby)]
            names += [name for name in _MODULE.findall(told) if not is_module(name)]
            missing += [f"{path.relative_to(ROOT)}: {name}" for name in names]
    assert missing == []


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
