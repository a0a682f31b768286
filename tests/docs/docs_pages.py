"""The project's pages, and the code in them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCED = re.compile(r"^```.*?\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:^ {4}.*\n)+", re.MULTILINE)
_INLINE = re.compile(r"`([^`\n]+)`")


def pages() -> list[Path]:
    """Return every Markdown page."""
    folders = (ROOT, ROOT / "docs", ROOT / "docs" / "decisions", ROOT / "inventory")
    return [page for folder in folders for page in sorted(folder.glob("*.md"))]


def prose(text: str) -> str:
    """Return the page without its code blocks."""
    return _INDENTED.sub("", _FENCED.sub("", text))


def code(text: str) -> list[str]:
    """Return every line of a code block (a continued one as a whole) and every inline code."""
    blocks = _FENCED.findall(text) + _INDENTED.findall(_FENCED.sub("", text))
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines] + _INLINE.findall(prose(text))


def all_code() -> list[tuple[str, str]]:
    """Return (page, code) of all pages but the reference generated from the commands."""
    return [
        (str(page.relative_to(ROOT)), line)
        for page in pages()
        if page.name != "rackctl.md"
        for line in code(page.read_text())
    ]
