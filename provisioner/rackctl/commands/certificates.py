"""Erasure certificates of a server or a reservation, as a table."""

from collections.abc import Iterable

from rich.table import Table

from provisioner.rackctl.client import JsonObject
from provisioner.rackctl.formats import local_time
from provisioner.rackctl.output import rows


def certificate_table(certificates: Iterable[JsonObject]) -> Table:
    """Build the table. Only a reservation's certificates have an `occasion`, before or after."""
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
