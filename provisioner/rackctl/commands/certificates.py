"""Erasure certificates of a server or a reservation, as a table."""

from collections.abc import Iterable

from provisioner.rackctl.client import JsonObject
from provisioner.rackctl.tables import Ids, Rows, moment, rows


def certificate_table(certificates: Iterable[JsonObject]) -> Rows:
    """Build the table. Only a reservation's certificates have an `occasion`, before or after."""
    certificates = list(certificates)
    short = Ids(certificate["id"] for certificate in certificates)
    return rows(
        ["CERTIFICATE", "DISK", "METHOD", "LEVEL", "FINISHED", "OCCASION"],
        (
            (
                short(certificate["id"]),
                certificate["disk_serial"],
                certificate["method"],
                certificate["level"],
                moment(certificate["finished_at"]),
                certificate.get("occasion"),
            )
            for certificate in certificates
        ),
    )
