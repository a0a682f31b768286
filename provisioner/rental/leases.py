"""The end of a lease: every change goes through here, so that the agent's grant follows.

Callers decide whether it may change, and what else must change with it.
"""

from datetime import datetime

from provisioner.store.changes import change_number
from provisioner.store.tables import Lease


def set_end(lease: Lease, ends_at: datetime, now: datetime) -> None:
    """Move the end; the next grant supersedes those that the agent already has.

    The caller holds the lock of the server's class.
    """
    if lease.ends_at == ends_at:
        return
    lease.ends_at = ends_at
    lease.sequence += 1
    lease.granted_at = now
    lease.changed_in = change_number()
