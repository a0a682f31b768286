"""A pyghmi IPMI session which never waits: the login runs wholly through callbacks.

Leaves to `ipmi_thread.py` the thread that drives it, and to `ipmi.py` what is asked of a BMC.
"""

import random
from collections.abc import Callable
from typing import Any

from pyghmi.ipmi.private import session as pyghmi_session
from pyghmi.ipmi.private.util import get_ipmi_error

Response = dict[str, Any]
"""`code` (completion code), `data`, `command`, `netfn`; with `error` (text) where code is not 0."""

NO_ANSWER_CODE = 0xFFFF
"""pyghmi's completion code for silence (the BMC's own codes are bytes)."""

_ADMINISTRATOR, _OPERATOR = 4, 3
_PRIVILEGE_REFUSED = (0x80, 0x81)  # IPMI 2.0 section 22.18, Set Session Privilege Level

_LONGEST_RETRANSMISSION_S = 3
"""A command is sent again after 0.5 to 1 s, then 1 s later each time, and given up when that
interval would pass this: three transmissions in 4.5 to 6 s."""


class IpmiSession(pyghmi_session.Session):  # type: ignore[misc]  # pyghmi has no types
    """One IPMI 2.0 session; all its methods are for the IPMI thread alone.

    Differs from pyghmi's own in three ways. The privilege level is requested without blocking: a
    BMC that dies in that step would otherwise hold up every other BMC. An established session is
    not logged in again behind our back: pyghmi then loses the callback of the waiting command and
    waits for it, blocking. Session ids and tags are random, so that a late answer to an abandoned
    session is never taken for an answer to its successor.
    """

    privlevel: int

    def _initsession(self) -> None:
        super()._initsession()
        self.localsid = random.randrange(1, 1 << 31)  # noqa: S311  # uniqueness, not secrecy
        self.rmcptag = random.randrange(1, 200)  # noqa: S311  # a byte, incremented per attempt

    def _req_priv_level(self) -> None:
        self.logged = 1
        self.logoutexpiry = None
        self.maxtimeout = _LONGEST_RETRANSMISSION_S
        self.logontries = 0
        self.ask(0x06, 0x3B, (self.privlevel,), self._got_privilege)

    def _got_privilege(self, response: Response) -> None:
        if response["code"] in _PRIVILEGE_REFUSED and self.privlevel == _ADMINISTRATOR:
            self.privlevel = _OPERATOR
            self.ask(0x06, 0x3B, (self.privlevel,), self._got_privilege)
            return
        self.logging = False
        if "error" in response:
            self.logged = 0
            if response["code"] != NO_ANSWER_CODE:
                response["error"] += " (requesting privilege)"
            self.onlogon(response)
            return
        self.keepalive_sessions[self] = {
            "ipmisession": self,
            "timeout": pyghmi_session._monotonic_time() + pyghmi_session.MAX_IDLE,
        }
        self.onlogon({"success": True})

    def ask(
        self,
        netfn: int,
        command: int,
        data: tuple[int, ...],
        answered: Callable[[Response], None],
        *,
        retransmit: bool = True,
        lun: int = 0,
    ) -> None:
        """Send one command; `answered` gets the response, with NO_ANSWER_CODE when none came.

        Raises pyghmi's IpmiException when the session is no longer connected. Without
        `retransmit` nothing is sent twice and silence is not reported.
        """

        def complete(response: Response) -> None:
            self.incommand = False
            if error := get_ipmi_error(response):
                response["error"] = error
            answered(response)

        self.raw_command(netfn, command, data=data, retry=retransmit, rslun=lun, callback=complete)

    @property
    def usable(self) -> bool:
        return bool(self.logged) and not self.logging and not self.broken

    def abandon(self) -> None:
        """Close the session, waiting for nothing: the answer to a pending command is dropped."""
        if not self.broken:
            self.incommand = False
            self._mark_broken("abandoned")
