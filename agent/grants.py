"""Decides which grants are valid: those that the site signed for this very machine.

`agent.lease` decides what follows from one.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from agent import ed25519
from agent.protocol import AgentConfig, Grant, ProtocolError, SignedGrant

_DMI_SERIAL = Path("/sys/class/dmi/id/product_serial")


class GrantRefused(Exception):
    """A grant that is not for this agent; the text says why. It changes nothing."""


class Verifier:
    """Checks a grant's signature, server and serial number."""

    def __init__(self, config: AgentConfig, *, dmi_serial: Path = _DMI_SERIAL) -> None:
        self._key = base64.b64decode(config.grant_key)
        self._server = config.server
        self._serial = config.serial
        self._machine_serial = _read(dmi_serial)

    def verified(self, signed: SignedGrant) -> Grant:
        """Return the grant. Raises `GrantRefused`."""
        try:
            signature = base64.b64decode(signed.signature, validate=True)
        except binascii.Error as error:
            raise GrantRefused(f"its signature is not base64: {error}") from error
        if not ed25519.verify(self._key, signed.grant.encode(), signature):
            raise GrantRefused("it is not signed with the site's key")
        try:
            grant = Grant.from_json(signed.grant)
        except ProtocolError as error:
            raise GrantRefused(str(error)) from error
        if grant.server != self._server:
            raise GrantRefused(f"it is for {grant.server}, this is {self._server}")
        if grant.serial != self._serial or self._machine_serial not in ("", grant.serial):
            raise GrantRefused(
                f"it is for serial number {grant.serial!r}, this is {self._serial!r}, by its"
                f" firmware {self._machine_serial!r}"
            )
        return grant


def _read(file: Path) -> str:
    """Read a DMI value; empty on a machine without DMI, or if its firmware left it empty."""
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""
