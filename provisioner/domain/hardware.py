"""Compares a server's hardware with its inventory."""

from collections.abc import Mapping
from typing import Any

MEMORY_TOLERANCE = 0.03
"""Firmware and kernel keep part of the memory, so this much less than expected is accepted. It is
less than one module in 32, so that a module mapped out by firmware is still noticed."""


def differences(expect: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    """Return every difference in words; what the inventory does not mention is not compared."""
    found: list[str] = []
    if "serial" in expect and facts.get("serial") != expect["serial"]:
        found.append(f"serial number is {facts.get('serial')!r}, expected {expect['serial']!r}")
    if "cpus" in expect and facts.get("cpus") != expect["cpus"]:
        found.append(f"{facts.get('cpus')} CPUs, expected {expect['cpus']}")
    if "memory_mib" in expect:
        have, want = int(facts.get("memory_mib", 0)), int(expect["memory_mib"])
        if have < want * (1 - MEMORY_TOLERANCE):
            found.append(f"{have} MiB of memory, expected {want} MiB")
    if "gpus" in expect and len(facts.get("gpus", ())) != expect["gpus"]:
        found.append(f"{len(facts.get('gpus', ()))} GPUs, expected {expect['gpus']}")
    if "disks" in expect:
        have_disks = {disk["serial"] for disk in facts.get("disks", ())}
        want_disks = {disk["serial"] for disk in expect["disks"]}
        found += [f"disk {serial} is missing" for serial in sorted(want_disks - have_disks)]
        found += [
            f"disk {serial} is not in the inventory" for serial in sorted(have_disks - want_disks)
        ]
    return found
