"""The rack's switch: ports that can be shut, moved and cut off from DHCP; BMCs out of reach."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from lab.rack import Rack
from lab.rack.plan import PROVISIONER_ADDRESS
from lab.testing import PortNic, rack

pytestmark = [pytest.mark.lab, pytest.mark.root]

SERVER, NEIGHBOUR = "r1-u01", "r1-u02"
DHCP_PORT = 67
LOST_SECONDS = 1


@pytest.fixture(scope="module")
def one_rack() -> Iterator[Rack]:
    with rack(2, "iltw", disk_size="64M", memory_mib=128) as it:
        yield it


@pytest.fixture
def nic(one_rack: Rack) -> Iterator[PortNic]:
    with PortNic(one_rack, SERVER) as it:
        yield it
    one_rack.set_port(SERVER, up=True)
    one_rack.set_tag(SERVER)
    one_rack.set_dhcp(SERVER, answered=True)


def test_server_reaches_the_provisioner(nic: PortNic) -> None:
    assert nic.reaches(PROVISIONER_ADDRESS)


def test_shut_port_passes_nothing_until_opened(one_rack: Rack, nic: PortNic) -> None:
    one_rack.set_port(SERVER, up=False)
    assert not nic.reaches(PROVISIONER_ADDRESS, LOST_SECONDS)
    assert one_rack.server_status(SERVER)["port"]["up"] is False
    one_rack.set_port(SERVER, up=True)
    assert nic.reaches(PROVISIONER_ADDRESS)


def test_port_in_another_network_is_cut_off(one_rack: Rack, nic: PortNic) -> None:
    one_rack.set_tag(SERVER, 200)
    assert not nic.reaches(PROVISIONER_ADDRESS, LOST_SECONDS)
    assert one_rack.server_status(SERVER)["port"]["tag"] == 200
    one_rack.set_tag(SERVER)
    assert nic.reaches(PROVISIONER_ADDRESS)


def test_no_dhcp_loses_dhcp_requests_and_nothing_else(one_rack: Rack, nic: PortNic) -> None:
    with one_rack.inside(listen_for_dhcp) as requests:
        nic.send_udp(DHCP_PORT, b"first")
        assert requests.recv(2048) == b"first"
        one_rack.set_dhcp(SERVER, answered=False)
        nic.send_udp(DHCP_PORT, b"lost")
        assert nic.reaches(PROVISIONER_ADDRESS)
        one_rack.set_dhcp(SERVER, answered=True)
        nic.send_udp(DHCP_PORT, b"third")
        assert requests.recv(2048) == b"third"


def listen_for_dhcp() -> socket.socket:
    requests = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    requests.settimeout(10)
    requests.bind(("", DHCP_PORT))
    return requests


def test_bmc_addresses_cannot_be_reached_from_a_server(one_rack: Rack, nic: PortNic) -> None:
    bmc = one_rack.plan.server(NEIGHBOUR).bmc_address
    assert not nic.reaches(bmc, LOST_SECONDS)
