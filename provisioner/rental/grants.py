"""Grants: a lease in the form that its server's agent gets, dated and signed by the site's key.

Callers send them; `agent.grants` verifies them.
"""

import base64
from datetime import datetime

from agent.protocol import Grant, SignedGrant
from provisioner.store.secrets import SecretBox
from provisioner.store.tables import Lease


def grant_of(
    lease: Lease, serial: str, box: SecretBox, *, now: datetime, echo: str = ""
) -> SignedGrant:
    """Return the lease's grant as of `now`, for the server with this serial number."""
    text = Grant(
        lease=lease.id,
        server=lease.server_id,
        serial=serial,
        not_before=lease.bound_at.timestamp(),
        not_after=lease.ends_at.timestamp(),
        issued_at=now.timestamp(),
        sequence=lease.sequence,
        echo=echo,
    ).to_json()
    signature = box.grant_key.sign(text.encode())
    return SignedGrant(grant=text, signature=base64.b64encode(signature).decode())


def public_key(box: SecretBox) -> str:
    """Return the key that agents verify grants with: raw, in base64."""
    return base64.b64encode(box.grant_key.public_key().public_bytes_raw()).decode()
