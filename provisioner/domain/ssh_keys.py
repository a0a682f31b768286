"""Checks SSH public keys as people paste them, and brings them into one canonical line."""

import base64
import hashlib
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

LONGEST = 16 * 1024
SMALLEST_RSA = 3072
KINDS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
)
_LONGEST_COMMENT = 100


class BadPublicKey(ValueError):
    """Not an acceptable SSH public key; the message says what to paste instead."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """`line` is safe for an authorized_keys file; `fingerprint` is as `ssh-keygen -l` prints it."""

    line: str
    comment: str
    fingerprint: str


def parse_public_key(text: str) -> PublicKey:
    """Check one OpenSSH public key (RFC 4253 section 6.6) without options.

    Accepts Ed25519, ECDSA on the NIST curves, and RSA of 3072 bits or more. The comment keeps only
    its printable ASCII characters. Raises :class:`BadPublicKey`.
    """
    text = text.strip()
    if not text:
        raise BadPublicKey("it is empty: paste the line of your .pub file")
    if len(text) > LONGEST:
        raise BadPublicKey(f"it is longer than {LONGEST} characters, so it is not a public key")
    if "PRIVATE KEY" in text:
        raise BadPublicKey("this is a private key; keep it secret and paste the .pub file instead")
    if any(character in text for character in "\r\n\0"):
        raise BadPublicKey("it has more than one line: a key is a single line, one key at a time")
    kind, _, rest = text.partition(" ")
    if kind not in KINDS:
        raise BadPublicKey(_unknown_kind(kind, rest))
    blob, _, comment = rest.strip().partition(" ")
    _check(kind, blob)
    comment = "".join(c for c in comment.strip() if " " <= c <= "~")[:_LONGEST_COMMENT]
    digest = hashlib.sha256(base64.b64decode(blob)).digest()
    return PublicKey(
        line=f"{kind} {blob} {comment}".rstrip(),
        comment=comment,
        fingerprint="SHA256:" + base64.b64encode(digest).decode().rstrip("="),
    )


def _unknown_kind(kind: str, rest: str) -> str:
    accepted = f"accepted are {', '.join(KINDS)}"
    if any(known in rest.split() for known in KINDS):
        return "options before the key are not supported: paste the key without them"
    if kind.startswith(("ssh-", "sk-", "ecdsa-")):
        return f"keys of type {kind[:40]} are not accepted; {accepted}"
    return f"this is not an SSH public key; {accepted}"


def _check(kind: str, blob: str) -> None:
    try:
        # Strict, because the lenient decoder skips other characters, and the line goes into a file.
        base64.b64decode(blob, validate=True)
        key = load_ssh_public_key(f"{kind} {blob}".encode("ascii"))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadPublicKey("the key is damaged: paste the whole line of your .pub file") from error
    if isinstance(key, RSAPublicKey) and key.key_size < SMALLEST_RSA:
        raise BadPublicKey(
            f"an RSA key of {key.key_size} bits is too weak: use {SMALLEST_RSA} or more, "
            "or make one with ssh-keygen -t ed25519"
        )
    if not isinstance(key, Ed25519PublicKey | EllipticCurvePublicKey | RSAPublicKey):
        raise BadPublicKey(f"keys of type {kind} are not accepted")
