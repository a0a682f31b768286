"""Commands named in the pages and in the program's own messages exist, with their options."""

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
from docs_pages import ROOT, all_code

from lab.__main__ import app as lab_app
from provisioner.rackctl.app import app as rackctl_app

GROUPS = {
    "rackctl": typer.main.get_command(rackctl_app),
    "python -m lab": typer.main.get_command(lab_app),
}


def commands_in_pages(name: str) -> list[str]:
    """Return what follows a command's name in the code of the pages, once each."""
    found = re.compile(rf"(?:^|[ /$(]){re.escape(name)} +([a-z-][^#;)]*)")
    lines = (match[1] for _, line in all_code() for match in found.finditer(line))
    return sorted({line.split(" | ")[0].split(" < ")[0].strip() for line in lines})


def check(group: Any, words: list[str]) -> None:
    """Fail unless the words lead to a command that has the options among them."""
    while words and words[0].startswith("-"):
        del words[:2]
    while hasattr(group, "commands"):
        if not words or words[0] == "…":
            return
        assert words[0] in group.commands, f"no command {words[0]!r}"
        group = group.commands[words.pop(0)]
    options = {option for parameter in group.params for option in parameter.opts}
    unknown = [word for word in words if word.startswith("--") and word not in options]
    assert unknown == [], f"no such option of {group.name}"


@pytest.mark.parametrize("line", commands_in_pages("rackctl"))
def test_a_rackctl_command_in_the_pages_exists(line: str) -> None:
    check(GROUPS["rackctl"], shlex.split(line))


@pytest.mark.parametrize("line", commands_in_pages("python -m lab"))
def test_a_lab_command_in_the_pages_exists(line: str) -> None:
    check(GROUPS["python -m lab"], shlex.split(line))


def messages() -> list[str]:
    """Return the provisioner's texts that tell people a rackctl command."""
    found = []
    for path in sorted((ROOT / "provisioner").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [p.value if isinstance(p, ast.Constant) else "NAME" for p in node.values]
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    told = re.compile(r"(?:: |`|\()rackctl ([^`();]+)")
    return sorted({match[1] for text in found for match in told.finditer(text)})


@pytest.mark.parametrize("line", messages())
def test_a_rackctl_command_in_a_message_exists(line: str) -> None:
    check(GROUPS["rackctl"], shlex.split(line))


@pytest.mark.parametrize("path", sorted((ROOT / "provisioner").rglob("*.py")), ids=str)
def test_a_command_in_a_message_can_be_pasted(path: Path) -> None:
    """It names the server or reservation; help and runbooks, which are about any, say NAME."""
    if "rackctl" in path.parts or path.name == "runbooks.py":
        return
    texts = [
        node.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    placeholder = re.compile(r"rackctl [^`;]*(?:\b(?:NAME|ID|SERVER)\b|…)")
    assert [text for text in texts if placeholder.search(text)] == []


def test_commands_of_the_daemon_in_the_pages_exist() -> None:
    told = {
        match[1] for _, line in all_code() for match in re.finditer(r"\bironlease ([a-z-]+)$", line)
    }
    help_text = subprocess.run(
        [sys.executable, "-m", "provisioner", "--help"], capture_output=True, text=True, check=True
    ).stdout
    choices = re.search(r"\{([\w,-]+)\}", help_text)
    assert choices is not None
    assert told <= set(choices[1].split(","))


def test_every_make_target_is_told_and_every_told_one_exists() -> None:
    told = {match[1] for _, line in all_code() for match in re.finditer(r"\bmake ([a-z-]+)", line)}
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    assert told == set(phony[1].split())
