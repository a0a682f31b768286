"""The real service on a loopback port, with a small fleet, and rackctl run against it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from rackctl_service import Background, Fleet, Rackctl, Service

from provisioner.store.secrets import SecretBox


@pytest.fixture(scope="session")
def background() -> Iterator[Background]:
    background = Background()
    yield background
    background.stop()


@pytest.fixture(scope="session")
def fleet(background: Background, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    file = tmp_path_factory.mktemp("fleet") / "ironlease.db"
    return background.run(Fleet.make(file, SecretBox(Fernet.generate_key())))


@pytest.fixture
def service(background: Background, fleet: Fleet, tmp_path: Path) -> Iterator[Service]:
    copy = Path(shutil.copy(fleet.file, tmp_path))
    service = Service(Fleet(copy, fleet.box, fleet.token), tmp_path, background)
    yield service
    background.run(service.close())


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, without the machine's environment for Ironlease."""
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    for name in ("IRONLEASE_URL", "IRONLEASE_TOKEN", "XDG_CONFIG_HOME", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.fixture
def bare_rackctl(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Rackctl:
    """rackctl without a login, with nothing at the default address."""
    return Rackctl(capsys, monkeypatch)


@pytest.fixture
def rackctl(service: Service, bare_rackctl: Rackctl, monkeypatch: pytest.MonkeyPatch) -> Rackctl:
    monkeypatch.setenv("IRONLEASE_URL", service.url)
    monkeypatch.setenv("IRONLEASE_TOKEN", service.token)
    return bare_rackctl
