"""A lease as it is granted to the agent of its server: signed with the site's key, and dated.

When it is sent, and to whom, is left to the callers; what the agent makes of it to `agent.grants`.
"""

import base64
from datetime import datetime

from agent.protocol import Grant, SignedGrant
from provisioner.store.secrets import SecretBox
from provisioner.store.tables import Lease


def grant_of(
    lease: Lease, serial: str, box: SecretBox, *, now: datetime, echo: str = ""
) -> SignedGrant:
    """The lease's grant as of `now`, for the server of this serial number."""
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
    """What agents check grants with: raw, in base64."""
    return base64.b64encode(box.grant_key.public_key().public_bytes_raw()).decode()
