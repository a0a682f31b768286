"""Where settings come from, and what happens if they cannot be read."""

from pathlib import Path

import pytest

from provisioner.settings import BadSettings, Settings, read_settings


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
    with pytest.raises(BadSettings, match="listen_prt"):
        read_settings()


def test_a_misspelt_variable_is_refused_with_the_setting_that_it_resembles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("IRONLEASE_LISTEN_PRT", "9000")
    with pytest.raises(BadSettings, match=r"PRT is not a setting; did you mean .*LISTEN_PORT\?"):
        read_settings()


@pytest.mark.parametrize("name", ["URL", "TOKEN"])
def test_a_variable_of_rackctl_is_no_misspelt_setting(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(f"IRONLEASE_{name}", "of another program")
    read_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("concurrency", "-1"),
        ("concurrency", "many"),
        ("claim_ttl_s", "-5"),
        ("boot_limit_s", "0"),
        ("listen_port", "70000"),
        ("machine_networks", "10.77.0.0/24"),
        ("gateway", "nowhere"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"IRONLEASE_{name.upper()}", value)
    with pytest.raises(BadSettings, match=name):
        read_settings()


@pytest.mark.parametrize("text", ["listen_port = ", "listen_port = -1", "\xff"])
def test_a_file_that_cannot_be_read_is_refused(file: Path, text: str) -> None:
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(BadSettings):
        read_settings()


def test_a_missing_file_is_no_empty_file(file: Path) -> None:
    with pytest.raises(BadSettings, match=r"ironlease\.toml"):
        read_settings()


def test_what_lives_in_the_data_folder_moves_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    settings = Settings(data_dir=Path("/srv/il"))

    assert settings.database_url == "sqlite:////srv/il/ironlease.db"
    assert settings.secret_key_file == Path("/srv/il/secret.key")
    assert settings.image_dir == Path("/srv/il/images")
