"""The interface to a switch: open and shut one server's port, or let only its boot through.

A shut port is the provisioner's surest hold on a former tenant: it needs neither the server's BMC
nor its agent, and the tenant cannot undo it.
"""

from typing import Protocol

from provisioner.domain.failures import Failure, FailureKind


class Switch(Protocol):
    """Nothing passes a shut port, either way. Every call may raise :class:`SwitchUnreachable`."""

    async def set_port(self, port: str, *, is_open: bool) -> None:
        """Open or shut a port; what was so already stays so."""

    async def allow_boot(self, port: str, mac: str) -> None:
        """Open a port between this NIC and the provisioner alone, until it is opened or shut.

        Whatever runs on the server can talk to the provisioner then, and to nobody else.
        """

    async def port_is_open(self, port: str) -> bool:
        """What the switch itself says of the port."""


class SwitchUnreachable(Failure):
    """The switch does not answer, or does not do as it is told."""

    code = "switch_unreachable"
    kind = FailureKind.TRANSIENT

    def __init__(self, port: str, detail: str) -> None:
        super().__init__(
            f"switch port {port!r}: {detail}",
            next_action="check the switch and the provisioner's access to it",
        )
