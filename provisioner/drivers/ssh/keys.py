"""SSH keys that the provisioner creates: host keys that it issues, and its own."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from provisioner.private_files import write_private_once


def new_host_key(comment: str) -> tuple[str, str]:
    """Create an Ed25519 key: (OpenSSH private key, public key line)."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return private, f"{public} {comment}"


def key_file(path: Path) -> tuple[Path, str]:
    """Return (path, public line) of the provisioner's own key, created (mode 0600) if missing."""

    def new() -> bytes:
        private, _ = new_host_key("ironlease")
        return private.encode()

    write_private_once(path, new)
    key = load_ssh_private_key(path.read_bytes(), password=None)
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return path, f"{public} ironlease"
