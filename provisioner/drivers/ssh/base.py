"""The interface to a server's SSH port: reachability, key checks, one command.

Nothing is trusted on first use: the provisioner issued the host key and knows it beforehand.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from provisioner.domain.failures import Failure, FailureKind


class SshState(StrEnum):
    """What the port shows to anyone who connects."""

    ANSWERS = "answers"
    """An SSH server with the expected host key."""
    REFUSED = "refused"
    """The connection is refused: a host, but no SSH server."""
    UNREACHABLE = "unreachable"
    """No answer: powered off, no network, or filtered."""


@dataclass(frozen=True, slots=True)
class SshTarget:
    """`host_key` is one OpenSSH public key line (`ssh-ed25519 AAAA…`)."""

    address: str
    host_key: str
    user: str = "root"
    port: int = 22


@dataclass(frozen=True, slots=True)
class CommandResult:
    status: int
    stdout: str
    stderr: str


class Ssh(Protocol):
    async def probe(self, target: SshTarget, *, timeout_s: float = 5.0) -> SshState:
        """Connect, compare the host key, disconnect. Raises :class:`HostKeyMismatch`."""

    async def accepts_key(
        self, target: SshTarget, public_key: str, *, timeout_s: float = 10.0
    ) -> bool:
        """Return whether the server would let this public key log in.

        It is a query without a signature (RFC 4252 section 7), so no private key is needed. Raises
        SshUnreachable, HostKeyMismatch.
        """

    async def run(
        self, target: SshTarget, command: str, *, timeout_s: float = 30.0
    ) -> CommandResult:
        """Run one command as the provisioner.

        Raises SshUnreachable, SshLoginRefused, HostKeyMismatch.
        """


class SshUnreachable(Failure):
    code = "ssh_unreachable"
    kind = FailureKind.TRANSIENT

    def __init__(self, target: SshTarget, detail: str) -> None:
        super().__init__(
            f"SSH on {target.address}:{target.port} does not answer: {detail}",
            next_action="look at the server's serial console",
        )


class SshLoginRefused(Failure):
    code = "ssh_login_refused"
    kind = FailureKind.SERVER_FAULT

    def __init__(self, target: SshTarget) -> None:
        super().__init__(
            f"SSH on {target.address}:{target.port} refuses the key of {target.user!r}",
            next_action="look at the server's serial console",
        )


class HostKeyMismatch(Failure):
    """Something else answers at the server's address: never continue."""

    code = "host_key_mismatch"
    kind = FailureKind.SERVER_FAULT

    def __init__(self, target: SshTarget, offered: str) -> None:
        super().__init__(
            f"SSH on {target.address}:{target.port} shows the host key {offered}, "
            f"not the one issued to it",
            next_action="find out what answers at this address: another machine with the same "
            "address, or a system that the provisioner did not boot",
        )
