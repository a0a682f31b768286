"""Asks an SSH server whether it would accept a public key, without having the private one.

RFC 4252 section 7: a publickey request without a signature is answered with PK_OK or a failure.
paramiko always signs; this handler sends the query instead.
"""

import base64
import binascii
import threading
from collections.abc import Callable

from paramiko import Message, Transport
from paramiko.auth_handler import AuthHandler
from paramiko.common import cMSG_USERAUTH_REQUEST

_MSG_USERAUTH_PK_OK = 60
_RSA, _RSA_SIGNATURE = "ssh-rsa", "rsa-sha2-512"  # RFC 8332: the key's type is not its algorithm


class KeyQuery(AuthHandler):
    """One query on a transport whose host key has been checked."""

    def __init__(self, transport: Transport, user: str, public_key: str) -> None:
        super().__init__(transport)
        self._user = user
        self._key_type, self._blob = parse_public_key(public_key)
        self._answered = False
        self._accepted = False
        self._done = threading.Event()
        # paramiko's own handling of failures and lost connections uses this event.
        self.auth_event = self._done
        self.auth_method = "publickey"

    def ask(self, timeout_s: float) -> bool:
        """Return whether the user would be let in with this key.

        Raises EOFError when the connection is lost, TimeoutError on silence.
        """
        with self.transport.lock:
            self._request_auth()  # type: ignore[attr-defined]  # internals are not in the stubs
        if not self._done.wait(timeout_s):
            raise TimeoutError("no answer to the key query")
        if not self._answered:
            raise EOFError("connection closed during the key query")
        return self._accepted

    def _parse_service_accept(self, message: Message) -> None:
        message.get_text()
        query = Message()
        query.add_byte(cMSG_USERAUTH_REQUEST)
        query.add_string(self._user)
        query.add_string("ssh-connection")
        query.add_string("publickey")
        query.add_boolean(False)  # no signature follows: only a query
        query.add_string(_RSA_SIGNATURE if self._key_type == _RSA else self._key_type)
        query.add_string(self._blob)
        self.transport._send_message(query)  # type: ignore[attr-defined]

    def _parse_pk_ok(self, message: Message) -> None:
        message.get_text()
        self._accepted = message.get_binary() == self._blob
        self._answered = True
        self._done.set()

    def _parse_userauth_failure(self, message: Message) -> None:
        self._answered = True
        self._done.set()

    @property
    def _client_handler_table(self) -> dict[int, Callable[[Message], None]]:
        table: dict[int, Callable[[Message], None]] = super()._client_handler_table  # type: ignore[misc]
        return {**table, _MSG_USERAUTH_PK_OK: self._parse_pk_ok}


def parse_public_key(line: str) -> tuple[str, bytes]:
    """Return type and blob of an OpenSSH public key line. Raises ValueError if it is not one."""
    try:
        key_type, encoded = line.split()[:2]
        blob = base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error):
        raise ValueError("not an OpenSSH public key line (type, then base64)") from None
    # RFC 4253 section 6.6: the blob begins with its own type as a string.
    if not blob.startswith(len(key_type).to_bytes(4, "big") + key_type.encode()):
        raise ValueError(f"the key's data do not match its type {key_type!r}")
    return key_type, blob
