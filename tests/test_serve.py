"""`make serve`: what one finds on its site, and what a second start leaves alone."""

import socket

import pytest

from lab.serve import reserved, run, serving
from lab.serve.site import Api


@pytest.fixture
def port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def test_a_second_start_names_the_running_one_and_leaves_its_data(tmp_path, port, capsys):
    with reserved(port, tmp_path / f"serve-{port}") as folder:
        (folder / "ironlease.db").write_text("data")
        assert run(port, tmp_path) == 1
        assert f"Already running at http://127.0.0.1:{port}." in capsys.readouterr().err
        assert (folder / "ironlease.db").read_text() == "data"
    with reserved(port, folder):
        assert list(folder.iterdir()) == []


def test_a_port_of_another_program_is_named_and_nothing_is_deleted(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        folder = tmp_path / f"serve-{taken}"
        folder.mkdir()
        (folder / "ironlease.db").write_text("data")
        assert run(taken, tmp_path) == 1
        said = capsys.readouterr().err
        assert f"Port {taken} of 127.0.0.1 cannot be used" in said
        assert "make serve PORT=" in said
        assert (folder / "ironlease.db").exists()


def test_each_port_has_a_site_of_its_own(tmp_path, port):
    with reserved(port, tmp_path / "one"), reserved(port, tmp_path / "other"):
        assert {folder.name for folder in tmp_path.iterdir() if folder.is_dir()} == {"one", "other"}


async def test_the_site_looks_as_in_use(tmp_path, port):
    async with serving(port, tmp_path) as (site, logins):
        api = Api(site.url, logins.token)
        try:
            servers = {s["name"]: s for s in (await api.get("/servers"))["items"]}
            incidents = {i["server"]: i for i in (await api.get("/incidents"))["items"]}
            reservations = {r["hostname"]: r for r in (await api.get("/reservations"))["items"]}
            health = {
                name: await api.get(f"/reservations/{reservations[name]['id']}/health")
                for name in ("trainer", "sweep")
            }
            certificates = await api.get(
                f"/reservations/{reservations['smoke-test']['id']}/certificates"
            )
        finally:
            await api.close()

    (bad,) = (s for s in servers.values() if s["state"] == "quarantined")
    assert "still holds data" in bad["reason"]
    sick = reservations["sweep"]["lease"]["server"]
    assert servers[sick]["state"] == "leased"
    assert "GPU 3" in incidents[sick]["reason"]
    assert set(incidents) == {bad["name"], sick}

    assert {r["account"] for r in reservations.values()} == {
        reservations["trainer"]["account"],
        reservations["web"]["account"],
    }
    states = {name: r["lease"]["state"] for name, r in reservations.items()}
    assert states.pop("render") in ("preparing", "ready")
    ended = ("smoke-test", "finetune")
    assert states == {name: "ended" if name in ended else "ready" for name in states}
    assert {c["occasion"] for c in certificates["items"]} == {"before", "after"}

    for seen in health.values():
        assert [gpu["index"] for gpu in seen["gpus"]] == list(range(8))
        assert len(seen["at"]) > 200
        assert all(len(set(gpu["temperature_c"])) > 5 for gpu in seen["gpus"])
    assert (health["trainer"]["level"], health["sweep"]["level"]) == ("ok", "faulty")
    lost = health["sweep"]["gpus"][3]["temperature_c"]
    assert lost[-1] is None
    assert lost[0] is not None
