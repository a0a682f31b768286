"""Erasure certificates of a server or a reservation, as a table."""

from collections.abc import Iterable

from rich.table import Table

from provisioner.rackctl.client import JsonObject
from provisioner.rackctl.formats import local_time
from provisioner.rackctl.output import rows


def certificate_table(certificates: Iterable[JsonObject]) -> Table:
    """`occasion` is for reservations: before the start, or after the end."""
    return rows(
        ["CERTIFICATE", "DISK", "METHOD", "LEVEL", "FINISHED", "OCCASION"],
        (
            (
                certificate["id"],
                certificate["disk_serial"],
                certificate["method"],
                certificate["level"],
                local_time(certificate["finished_at"]),
                certificate.get("occasion"),
            )
            for certificate in certificates
        ),
    )
