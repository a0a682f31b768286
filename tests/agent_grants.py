"""For tests of the agent: a site that signs grants, a machine they are for, and its boot clock."""

import base64
import time
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.grants import Verifier
from agent.lease import Lease
from agent.protocol import AgentConfig, Grant, SignedGrant

BEGAN = 1_800_000_000.0


@dataclass
class Clock:
    """The boot clock, and the provisioner's clock beside it."""

    now: float = 100.0
    unix: float = BEGAN

    def __call__(self) -> float:
        return self.now

    def turn(self, seconds: float) -> None:
        self.now += seconds
        self.unix += seconds

    def reboot(self, off_s: float = 0.0) -> None:
        self.unix += off_s
        self.now = 0.0


@dataclass
class Site:
    """The provisioner: its key, and its view of the lease."""

    clock: Clock = field(default_factory=Clock)
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    lease: str = "lse_1"
    serial: str = "ILSRV01"
    not_before: float = BEGAN
    not_after: float = BEGAN + 60
    sequence: int = 1

    def unix(self) -> float:
        """Return the current time by the provisioner's clock."""
        return self.clock.unix

    def end_in(self, seconds: float) -> None:
        """Extend or shorten the lease to end this many seconds from now."""
        self.not_after = self.unix() + seconds
        self.sequence += 1

    def grant(self, echo: str = "", **changes: object) -> SignedGrant:
        values: dict[str, object] = {
            "lease": self.lease,
            "server": "srv_1",
            "serial": self.serial,
            "not_before": self.not_before,
            "not_after": self.not_after,
            "issued_at": self.unix(),
            "sequence": self.sequence,
            "echo": echo,
            **changes,
        }
        text = Grant.from_dict(values).to_json()
        return SignedGrant(text, base64.b64encode(self.key.sign(text.encode())).decode())

    def config(self, grant: SignedGrant | None = None, url: str = "http://p") -> AgentConfig:
        public = base64.b64encode(self.key.public_key().public_bytes_raw()).decode()
        return AgentConfig(url, "srv_1", "token", "tenant", 10.0, grant, public, "ILSRV01")

    def held(self, file: Path, boot: str = "boot-1", **changes: object) -> Lease:
        """Return an agent's lease as it starts now, with the configuration's grant of now."""
        first = self.grant(**changes)
        return Lease(file, boot, self.clock, self.verifier().verified, first)

    def verifier(self, dmi_serial: Path = Path("/nowhere")) -> Verifier:
        return Verifier(self.config(), dmi_serial=dmi_serial)

    def exchange(self, lease: Lease, *, out_s: float = 0.0, back_s: float = 0.0) -> None:
        """Make an exchange whose request and answer take this long on their way."""
        sent_s = self.clock.now
        self.clock.turn(out_s)
        answer = self.grant("nonce")
        self.clock.turn(back_s)
        lease.take(answer, echo="nonce", sent_s=sent_s)


@dataclass
class LiveSite(Site):
    """A site whose clock runs."""

    def unix(self) -> float:
        return time.time()
