"""Compares a server's hardware with its inventory."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from provisioner.domain.storable import LARGEST

MEMORY_TOLERANCE = 0.03
"""Firmware and kernel keep part of the memory, so this much less than expected is accepted. It is
less than one module in 32, so that a module mapped out by firmware is still noticed."""


LONGEST_NAME = 200
"""Characters of a disk's serial number and the like."""
_DISK: dict[str, type] = {
    "serial": str,
    "model": str,
    "firmware": str,
    "transport": str,
    "size_bytes": int,
    "capabilities": dict,
}


def require_facts(facts: Any) -> None:
    """Hold what inspection found against its form: a server's disk or firmware may say anything.

    Raises ValueError that names the place.
    """
    if not isinstance(facts, dict):
        raise ValueError("expected the facts of a server")
    for name in ("cpus", "memory_mib"):
        _require(facts.get(name), int, name)
    _require(facts.get("gpus", []), list, "gpus")
    _require(facts.get("disks"), list, "disks")
    serials = set()
    for position, disk in enumerate(facts["disks"]):
        _require(disk, dict, f"disks/{position}")
        for name, kind in _DISK.items():
            _require(disk.get(name), kind, f"disks/{position}/{name}")
        if not disk["serial"] or disk["serial"] in serials:
            raise ValueError(
                f"disks/{position}/serial: {disk['serial']!r} is another disk's, or empty"
            )
        serials.add(disk["serial"])


def _require(value: Any, kind: type, at: str) -> None:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{at}: expected {kind.__name__}, got {type(value).__name__}")
    if isinstance(value, int) and not 0 <= value <= LARGEST:
        raise ValueError(f"{at}: the number is too large")
    if isinstance(value, str) and len(value) > LONGEST_NAME:
        raise ValueError(f"{at}: longer than {LONGEST_NAME} characters")


def expected_gpus(expect: Mapping[str, Any]) -> int:
    """How many GPUs the inventory says a server has; 0 if it says nothing that is a number."""
    gpus = expect.get("gpus")
    return gpus if isinstance(gpus, int) and not isinstance(gpus, bool) else 0


def gpus_are_read(expect: Mapping[str, Any], health: Mapping[str, Any]) -> bool:
    """Whether a report's health tells about the GPUs that the inventory expects, if any: by the
    driver, or in a ramdisk by counting them on the bus."""
    return not expected_gpus(expect) or health.get("state") == "ok" or "gpus_on_bus" in health


class MissingGpu(NamedTuple):
    number: int
    """Its index, or a free one if the driver has numbered the others anew."""
    pci: str
    """Its PCI address; empty if it is not known."""


def missing_gpus(
    expect: Mapping[str, Any], facts: Mapping[str, Any], reported: Sequence[Mapping[str, Any]]
) -> list[MissingGpu]:
    """Return the GPUs that the server should have, by its inventory or its last inspection, and
    that a report in which its GPUs were read leaves out."""
    known = [gpu for gpu in facts.get("gpus", ()) if isinstance(gpu, Mapping)]
    count = max(expected_gpus(expect), len(known))
    lost = count - len(reported)
    if lost <= 0:
        return []
    taken = {gpu.get("index") for gpu in reported}
    free = [index for index in range(count) if index not in taken]
    seen = {gpu.get("pci") for gpu in reported}
    absent = sorted(str(gpu["pci_address"]) for gpu in known if "pci_address" in gpu)
    absent = [address for address in absent if address not in seen]
    places = absent if len(absent) == lost else [""] * lost
    return [MissingGpu(*each) for each in zip(free, places, strict=False)]


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
