"""SSH to ramdisk and tenant systems, by paramiko."""

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
