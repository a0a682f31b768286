"""kill -9 and restart of the provisioner while real machines are at work.

It covers one whole life of two servers; each test checks one thing that must be true afterwards.
Each kill waits for the first server to be in the middle of a step; the second is hit wherever it
happens to be.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from loop_site import PATIENCE_S, all_log_lines, holds, log_lines, site_on_rack, steps

from lab.demo import Customer, write_secret
from lab.site import Site
from provisioner.domain.lifecycle import Step, Verb

pytestmark = [pytest.mark.lab, pytest.mark.alone, pytest.mark.root, pytest.mark.timeout(1200)]

_PLAYBOOKS = {
    Step.COLLECT_FACTS: "inspect",
    Step.SANITISE_DISKS: "sanitise",
    Step.CHECK_HARDWARE: "validate",
    Step.WRITE_IMAGE: "image",
    Step.PERSONALISE: "personalise",
}


def _task(playbook: str) -> str:
    """The name of a playbook's only task."""
    (play,) = yaml.safe_load((Path("playbooks") / f"{playbook}.yml").read_text())
    (task,) = play["tasks"]
    return str(task["name"])


PLAYS = {step: _task(playbook) for step, playbook in _PLAYBOOKS.items()}
"""Steps that run a playbook, and the log line with which the server starts on it."""


@dataclass
class Killed:
    """Where each server was at each kill, and how it all ended."""

    site: Site
    names: tuple[str, ...]
    where: list[dict[str, tuple[str, str] | None]] = field(default_factory=list)
    """(verb, step) of each server, at each kill."""
    left_over: list[str] = field(default_factory=list)
    """Commands of a killed provisioner's plays still running once the next one had started."""
    secrets: dict[str, str] = field(default_factory=dict)
    reservations: dict[str, str] = field(default_factory=dict)
    steps: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    lines: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def kill_when(self, what: str, condition: Callable[[], object]) -> None:
        """kill -9 the provisioner as soon as the condition holds, and restart it."""
        self.site.wait_for(what, condition, PATIENCE_S)
        self.site.kill()
        self.where.append(standing(self.site))
        runs = runs_under_way(self.site)
        self.site.start()
        # Runs end within moments of the provisioner; what is alive now would stay for good.
        try:
            self.site.wait_for("old plays to end", lambda: not processes_of(runs), 30)
        finally:
            self.left_over += processes_of(runs)

    def where_count(self, name: str, verb: Verb, step: Step) -> int:
        return sum(there[name] == (verb.value, step.value) for there in self.where)


def at(operation: dict[str, Any] | None) -> tuple[str, str] | None:
    return None if operation is None else (operation["verb"], operation["step"])


def standing(site: Site) -> dict[str, tuple[str, str] | None]:
    """Return where each server stands, from what a killed provisioner left in its database."""
    query = """
        SELECT server.name, operation.verb, operation.step
        FROM server LEFT JOIN operation
        ON operation.server_id = server.id AND operation.ended_at IS NULL
    """
    database = sqlite3.connect(site.folder / "data/ironlease.db")
    try:
        rows = database.execute(query).fetchall()
    finally:
        database.close()
    return {name: None if verb is None else (verb, step) for name, verb, step in rows}


def runs_under_way(site: Site) -> list[str]:
    """Return the plays that the provisioner was running, by the names of their folders."""
    active = site.folder / "data/plays/active"
    return [run.name for run in active.iterdir()] if active.exists() else []


def processes_of(runs: list[str]) -> list[str]:
    """Return commands of processes that work for one of these plays."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        found += [command for run in runs if run in command]
    return found


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killed]:
    with site_on_rack(2, "ilk2") as site:
        play = Killed(site, tuple(server.name for server in site.rack.servers))
        live_through(play, tmp_path_factory.mktemp("keys"))
        for name in play.names:
            play.steps[name] = steps(site, name)
            play.lines[name] = all_log_lines(site, name)
        yield play


def live_through(play: Killed, keys: Path) -> None:
    site, first = play.site, play.names[0]

    def stands(name: str, verb: Verb, step: Step) -> bool:
        return at(site.server(name)["operation"]) == (verb.value, step.value)

    def works(name: str, verb: Verb, step: Step, line: str) -> bool:
        operation = site.server(name)["operation"]
        if at(operation) != (verb.value, step.value):
            return False
        return any(line in each["text"] for each in log_lines(site, operation["id"]))

    site.enrol()
    play.kill_when("the ramdisk to load", lambda: stands(first, Verb.INSPECT, Step.AWAIT_RAMDISK))
    play.kill_when(
        "a wipe",
        lambda: works(first, Verb.SANITISE, Step.SANITISE_DISKS, PLAYS[Step.SANITISE_DISKS]),
    )
    for name in play.names:
        site.wait_for_state(name, "available", timeout_s=PATIENCE_S)

    customers = {name: Customer(site, f"customer{n}", keys) for n, name in enumerate(play.names)}
    booked = {}
    for customer in customers.values():
        reservation = customer.reserve(7200)
        server = site.get(f"/reservations/{reservation}")["lease"]["server"]
        booked[server] = (customer, reservation)
    play.kill_when(
        "half an image",
        lambda: works(first, Verb.IMAGE, Step.WRITE_IMAGE, "% written"),
    )
    play.kill_when(
        "the system to become the customer's",
        lambda: works(first, Verb.IMAGE, Step.PERSONALISE, PLAYS[Step.PERSONALISE]),
    )
    play.kill_when("the kexec", lambda: stands(first, Verb.IMAGE, Step.AWAIT_TENANT))
    for name, (customer, reservation) in booked.items():
        lease = customer.await_ready(reservation)
        play.secrets[name] = f"left-behind-{uuid4().hex}"
        play.reservations[name] = reservation
        customer.must_run(lease, write_secret(play.secrets[name]))
    for reservation in play.reservations.values():
        site.post(f"/reservations/{reservation}/release")
    play.kill_when(
        "the server to be taken back",
        lambda: stands(first, Verb.RECLAIM, Step.AWAIT_RAMDISK),
    )
    play.kill_when(
        "the wipe after a tenant",
        lambda: works(first, Verb.SANITISE, Step.SANITISE_DISKS, PLAYS[Step.SANITISE_DISKS]),
    )
    for name in play.names:
        site.wait_for_state(name, "available", timeout_s=PATIENCE_S)


def test_no_play_of_a_killed_provisioner_runs_on(killed: Killed) -> None:
    assert killed.left_over == []


def test_every_kill_hit_the_step_that_it_was_meant_for(killed: Killed) -> None:
    assert [there[killed.names[0]] for there in killed.where] == [
        ("inspect", "await_ramdisk"),
        ("sanitise", "sanitise_disks"),
        ("image", "write_image"),
        ("image", "personalise"),
        ("image", "await_tenant"),
        ("reclaim", "await_ramdisk"),
        ("sanitise", "sanitise_disks"),
    ]


def test_the_servers_end_available_and_wiped(killed: Killed) -> None:
    for name in killed.names:
        server = killed.site.server(name)
        assert server["state"] == "available"
        assert all(disk["sanitised"] for disk in server["disks"])
        for disk in killed.site.rack.plan.server(name).disks:
            assert not holds(disk.path, killed.secrets[name])


def test_no_step_failed_and_no_incident_is_left(killed: Killed) -> None:
    """A run that met one of a killed provisioner's on the server would have failed."""
    for name in killed.names:
        outcomes = {each["outcome"] for each in killed.steps[name]}
        assert outcomes <= {"done", "skipped", "interrupted"}, name
    assert killed.site.get("/incidents")["items"] == []


def test_no_kill_cost_a_boot(killed: Killed) -> None:
    """One at enrolment, one after the tenant; kexec is not a boot."""
    for name in killed.names:
        assert killed.site.rack.server_status(name)["starts"] == 2


@pytest.mark.parametrize("step", PLAYS, ids=lambda step: step.value)
def test_only_interrupted_work_was_done_again(killed: Killed, step: Step) -> None:
    verbs = {each["verb"] for name in killed.names for each in killed.steps[name]}
    for name in killed.names:
        ended = [each for each in killed.steps[name] if each["step"] == step.value]
        done = [each for each in ended if each["outcome"] == "done"]
        begun = Counter(line["text"] for line in killed.lines[name])[PLAYS[step]]
        interrupted = sum(killed.where_count(name, Verb(verb), step) for verb in verbs)
        assert len(done) <= begun <= len(done) + interrupted


def test_each_tenant_system_was_installed_once(killed: Killed) -> None:
    for name in killed.names:
        installed = [each for each in killed.steps[name] if each["step"] == "hand_over"]
        assert [each["outcome"] for each in installed] == ["done"]


def test_every_wipe_was_finished_before_the_server_was_offered(killed: Killed) -> None:
    for name, reservation in killed.reservations.items():
        path = f"/reservations/{reservation}/certificates"
        occasions = Counter(
            (each["occasion"], each["disk_serial"]) for each in killed.site.get(path)["items"]
        )
        serials = [disk.serial for disk in killed.site.rack.plan.server(name).disks]
        assert occasions == {(when, s): 1 for when in ("before", "after") for s in serials}
