"""Where settings come from, and what happens if they cannot be read."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from provisioner.settings import Settings


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "ironlease.toml"
    monkeypatch.setenv("IRONLEASE_CONFIG", str(path))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    return path


def test_a_variable_goes_before_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('database_url = "sqlite:////srv/il.db"\nlisten_port = 9000\nconcurrency = 8\n')
    monkeypatch.setenv("IRONLEASE_CONCURRENCY", "16")

    settings = Settings()

    assert settings.database_url == "sqlite:////srv/il.db"
    assert (settings.listen_port, settings.concurrency) == (9000, 16)


def test_a_misspelt_setting_in_the_file_is_refused_by_name(file: Path) -> None:
    file.write_text("listen_prt = 9000\n")
    with pytest.raises(ValidationError, match="listen_prt"):
        Settings()


def test_a_missing_file_is_no_empty_file(file: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"ironlease\.toml"):
        Settings()


def test_what_lives_in_the_data_folder_moves_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    settings = Settings(data_dir=Path("/srv/il"))

    assert settings.database_url == "sqlite:////srv/il/ironlease.db"
    assert settings.secret_key_file == Path("/srv/il/secret.key")
    assert settings.image_dir == Path("/srv/il/images")
