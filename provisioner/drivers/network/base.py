"""The interface to a switch: open or shut one server's port, or let only its boot through.

A shut port is the surest protection from a former tenant: it needs neither the server's BMC nor its
agent, and the tenant cannot undo it.
"""

from typing import Protocol

from provisioner.domain.failures import Failure, FailureKind


class Switch(Protocol):
    """A shut port passes nothing, either way. Any call may raise :class:`SwitchUnreachable`."""

    async def set_port(self, port: str, *, is_open: bool) -> None:
        """Open or shut a port; safe to repeat."""

    async def allow_boot(self, port: str, mac: str) -> None:
        """Open a port between this NIC and the provisioner alone, until it is opened or shut.

        Whatever runs on the server can then reach the provisioner and nothing else.
        """

    async def port_is_open(self, port: str) -> bool:
        """Ask the switch itself whether the port is open."""


class SwitchUnreachable(Failure):
    """The switch does not answer, or does not obey."""

    code = "switch_unreachable"
    kind = FailureKind.TRANSIENT

    def __init__(self, port: str, detail: str) -> None:
        super().__init__(
            f"switch port {port!r}: {detail}",
            next_action="check the switch and the provisioner's access to it",
        )
