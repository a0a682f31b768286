"""The configuration of dnsmasq."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest

from provisioner.drivers.netboot.dnsmasq_settings import (
    DnsmasqSettings,
    configuration,
    host_list,
)

SETTINGS = DnsmasqSettings(
    interface="prov",
    address=IPv4Interface("10.77.0.1/24"),
    base_url="http://10.77.0.1:8080",
    state_dir=Path("/run/x"),
    tftp_root=Path("/run/x/tftp"),
)


def test_only_known_machines_are_answered_without_a_pool() -> None:
    lines = configuration(SETTINGS).splitlines()
    assert "dhcp-range=10.77.0.0,static,255.255.255.0,3600" in lines
    assert "dhcp-ignore=tag:!known" in lines


def test_pool_is_for_unknown_machines() -> None:
    pool = (IPv4Address("10.77.0.100"), IPv4Address("10.77.0.199"))
    lines = configuration(replace(SETTINGS, pool=pool)).splitlines()
    assert "dhcp-range=10.77.0.100,10.77.0.199,255.255.255.0,3600" in lines
    assert "dhcp-ignore=tag:!known" not in lines


def test_host_list_has_a_line_per_machine() -> None:
    hosts = [("52:54:00:77:00:01", "10.77.0.11", "r1-u01")]
    assert host_list(hosts) == "52:54:00:77:00:01,10.77.0.11,r1-u01\n"


@pytest.mark.parametrize(
    "host",
    [
        ("52:54:00:77:00:01,ignore", "10.77.0.11", "r1-u01"),
        ("52:54:00:77:00:01", "10.77.0.11\n", "r1-u01"),
        ("52:54:00:77:00:01", "10.77.0.11", "a,set:known"),
        ("52:54:00:77:00:01", "10.77.0.11", ""),
    ],
)
def test_value_that_would_mean_more_is_refused(host: tuple[str, str, str]) -> None:
    with pytest.raises(ValueError, match=r"dnsmasq|decimal digits"):
        host_list([host])


def test_interface_name_that_would_mean_more_is_refused() -> None:
    with pytest.raises(ValueError, match="dnsmasq"):
        configuration(replace(SETTINGS, interface="prov\ndhcp-script=/bin/sh"))
