"""Secrets at rest: sealed with a key that is not in the database (Fernet: AES-128-CBC, HMAC)."""

import base64
import hashlib
import secrets
import string
from functools import cached_property
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from provisioner.private_files import write_private_once


class SecretUnreadable(Exception):
    """A sealed value cannot be opened with the configured key."""


class SecretBox:
    """Seals and opens text. Neither the key nor an opened value appears in a repr."""

    def __init__(self, key: bytes) -> None:
        self._fernet = Fernet(key)
        self._key = key

    @classmethod
    def from_file(cls, path: Path) -> "SecretBox":
        """Read the key in `path`; create one (mode 0600) if there is no such file."""
        write_private_once(path, Fernet.generate_key)
        return cls(path.read_bytes().strip())

    def seal(self, value: str) -> str:
        return self._fernet.encrypt(value.encode()).decode()

    def open(self, sealed: str) -> str:
        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except InvalidToken as error:
            raise SecretUnreadable(
                "a stored secret cannot be opened: the key file is not the one it was sealed with; "
                "restore the original key file"
            ) from error

    @cached_property
    def grant_key(self) -> Ed25519PrivateKey:
        """The key that signs agents' grants.

        It is derived, so all processes of a site have the same one, and it is backed up with the
        key file.
        """
        derivation = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"ironlease lease grants")
        seed = derivation.derive(base64.urlsafe_b64decode(self._key))
        return Ed25519PrivateKey.from_private_bytes(seed)


def new_token(prefix: str) -> str:
    """Return a random bearer token of 256 bits; the prefix tells people and scanners what it is."""
    return f"{prefix}_{secrets.token_urlsafe(32)}"


def token_hash(token: str) -> str:
    """Return a token as it is stored: it is random, so one SHA-256 is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


_BMC_PASSWORD_LENGTH = 16
"""IPMI 2.0 allows 20, which not every BMC stores whole."""
_KINDS = (string.ascii_lowercase, string.ascii_uppercase, string.digits)


def new_bmc_password() -> str:
    """Return 95 random bits, with a character of each kind, as some BMCs require."""
    while True:
        made = "".join(secrets.choice("".join(_KINDS)) for _ in range(_BMC_PASSWORD_LENGTH))
        if all(set(kind) & set(made) for kind in _KINDS):
            return made
