"""SSH to ramdisks and tenant systems, through paramiko."""

from provisioner.drivers.ssh.base import (
    CommandResult,
    HostKeyMismatch,
    Ssh,
    SshLoginRefused,
    SshState,
    SshTarget,
    SshUnreachable,
)

__all__ = [
    "CommandResult",
    "HostKeyMismatch",
    "Ssh",
    "SshLoginRefused",
    "SshState",
    "SshTarget",
    "SshUnreachable",
]
