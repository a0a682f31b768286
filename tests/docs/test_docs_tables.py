"""The tables in the pages match the code."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from docs_pages import ROOT

from provisioner.domain.lifecycle import Step
from provisioner.settings import Settings

ARCHITECTURE = ROOT / "docs" / "architecture.md"


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    """Load docs/tables.py, which is a program outside any package."""
    spec = importlib.util.spec_from_file_location("docs_tables", ROOT / "docs" / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_tables_are_up_to_date(tables: ModuleType, page: Path) -> None:
    text = page.read_text()
    assert tables.filled(text) == text, "run `make docs`"


def test_every_table_is_in_a_page(tables: ModuleType) -> None:
    text = "".join(page.read_text() for page in (ROOT / "docs").glob("*.md"))
    assert set(re.findall(r"<!-- table: (\w+) -->", text)) == tables.TABLES.keys()


def test_every_setting_says_what_it_means() -> None:
    fields = Settings.model_fields.items()
    assert [name for name, field in fields if not field.description] == []


@pytest.mark.parametrize("step", Step)
def test_every_step_is_explained(step: Step) -> None:
    assert f"\n| `{step}` |" in ARCHITECTURE.read_text()
