"""BMCs of a rack: what they report, their users, and their faults."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from lab.rack import Rack
from lab.rack.bmc import BmcFault
from lab.rack.plan import BMC_PASSWORD, BMC_USER
from lab.testing import rack

pytestmark = [pytest.mark.lab, pytest.mark.root]

SERVER, NEIGHBOUR = "r1-u01", "r1-u02"
# Run in a process inside the rack's namespace, where the BMC is.
ASK_BY_PYGHMI = """
import json, sys
from pyghmi.ipmi.command import Command
bmc = Command(sys.argv[1], userid=sys.argv[2].encode(), password=sys.argv[3].encode())
print(json.dumps({
    "sensors": {each.name: [each.value, each.units] for each in bmc.get_sensor_data()},
    "inventory": dict(bmc.get_inventory()),
    "events": [each["component_type"] for each in bmc.get_event_log()],
    "badreadings": len(bmc.get_health()["badreadings"]),
}))
"""


@pytest.fixture(scope="module")
def two_servers() -> Iterator[Rack]:
    with rack(2, "iltb", disk_size="64M", memory_mib=128) as it:
        yield it


@pytest.fixture
def healed(two_servers: Rack) -> Iterator[Rack]:
    yield two_servers
    two_servers.bmc_fault(SERVER, None)


def ipmi(
    rack: Rack,
    server: str,
    *words: str,
    user: str = BMC_USER,
    password: str = BMC_PASSWORD,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    login = ["-H", rack.plan.server(server).bmc_address, "-U", user, "-P", password]
    once = ["-N", "1", "-R", "1"]
    command = ["ipmitool", "-I", "lanplus", "-C", "3", *once, *login, *words]
    return rack.exec(command, check=check)


def works(rack: Rack, server: str) -> bool:
    return ipmi(rack, server, "power", "status", check=False).returncode == 0


def test_pyghmi_reads_sensors_inventory_and_events(healed: Rack) -> None:
    address = healed.plan.server(SERVER).bmc_address
    asked = [sys.executable, "-c", ASK_BY_PYGHMI, address, BMC_USER, BMC_PASSWORD]
    told: dict[str, Any] = json.loads(healed.exec(asked).stdout)
    assert told["sensors"]["Fan 1"] == [8400.0, "RPM"]
    assert told["sensors"]["CPU Temp"] == [46.0, "°C"]
    assert told["inventory"]["System"]["Serial Number"] == "ILSRV01"
    assert "Power Unit" in told["events"]
    assert told["badreadings"] == 0


def test_a_changed_password_outlives_the_fault_that_restarts_the_bmc(healed: Rack) -> None:
    ipmi(healed, SERVER, "user", "set", "name", "5", "operator5")
    ipmi(healed, SERVER, "user", "set", "password", "5", "rotated-once")
    ipmi(healed, SERVER, "channel", "setaccess", "1", "5", "ipmi=on", "privilege=4")
    ipmi(healed, SERVER, "user", "enable", "5")
    healed.bmc_fault(SERVER, "refuse")
    healed.bmc_fault(SERVER, None)
    ipmi(healed, SERVER, "power", "status", user="operator5", password="rotated-once")


@pytest.mark.parametrize("fault", ["drop", "hang", "refuse"])
def test_bmc_fault_hits_one_server_alone_and_heals(healed: Rack, fault: BmcFault) -> None:
    assert works(healed, SERVER)
    healed.bmc_fault(SERVER, fault)
    assert not works(healed, SERVER)
    assert works(healed, NEIGHBOUR)
    assert healed.server_status(SERVER)["bmc"]["fault"] == fault
    healed.bmc_fault(SERVER, None)
    assert works(healed, SERVER)


def test_refusing_bmc_says_that_the_login_is_wrong(healed: Rack) -> None:
    healed.bmc_fault(SERVER, "refuse")
    address = healed.plan.server(SERVER).bmc_address
    asked = [sys.executable, "-c", ASK_BY_PYGHMI, address, BMC_USER, BMC_PASSWORD]
    assert "Incorrect password" in healed.exec(asked, check=False).stderr


def test_one_fault_replaces_another(healed: Rack) -> None:
    healed.bmc_fault(SERVER, "hang")
    healed.bmc_fault(SERVER, "drop")
    healed.bmc_fault(SERVER, "refuse")
    healed.bmc_fault(SERVER, None)
    assert works(healed, SERVER)
