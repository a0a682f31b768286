"""Run by the ramdisk's /init once the network is up.

It exchanges the boot token for the machine's identity, asking until an answer arrives, opens SSH
with the host key and for the user key in it, and reports ready. It exits with 1 and the reason on
standard error if only another boot can help.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

from agent import host
from agent.post import PostError, StatusError, post
from agent.protocol import Identity, IdentityRequest, ProtocolError, Ready

PATIENCE_S = 120  # a provisioner that is being restarted is back well within this
_LISTENING = ": 00000000:0016 00000000:0000 0A"  # port 22 (0x16) on any address, state LISTEN


class Refused(Exception):
    """The provisioner or this machine refuses; only a new boot helps."""


def main() -> int:
    """Check in; return the exit status."""
    try:
        check_in(
            os.environ["IRONLEASE_URL"],
            IdentityRequest(
                token=os.environ["IRONLEASE_TOKEN"],
                boot_id=host.boot_id(),
                serial=os.environ["IRONLEASE_SERIAL"],
                mac=os.environ["IRONLEASE_MAC"],
                nonce=secrets.token_hex(16),
            ),
        )
    except Refused as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def check_in(url: str, request: IdentityRequest) -> None:
    """Check in. Raises `Refused`."""
    try:
        identity = Identity.from_json(_insist(f"{url}/boot/identity", request.to_json(), None))
    except ProtocolError as error:
        raise Refused(f"the identity cannot be read: {error}") from error
    become(identity)
    subprocess.run(["/usr/sbin/sshd"], check=True)
    # sshd goes into the background before it listens.
    while _LISTENING not in Path("/proc/net/tcp").read_text():
        time.sleep(0.02)
    _insist(f"{url}/boot/ready", Ready(request.boot_id).to_json(), identity.agent.token)


def become(identity: Identity) -> None:
    """Write what makes this machine the server it is."""
    _write("/etc/ssh/ssh_host_ed25519_key", identity.ssh_host_key.rstrip("\n") + "\n")
    _write("/root/.ssh/authorized_keys", identity.authorized_key + "\n")
    _write("/etc/ironlease/agent.json", identity.agent.to_json())
    _write("/etc/hostname", identity.hostname + "\n", 0o644)
    _write("/etc/hosts", f"127.0.0.1 localhost {identity.hostname}\n", 0o644)
    Path("/proc/sys/kernel/hostname").write_text(identity.hostname)


def _write(path: str, text: str, mode: int = 0o600) -> None:
    file = Path(path)
    file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as out:  # noqa: PTH123
        out.write(text)


def _insist(url: str, body: str, token: str | None) -> bytes:
    """POST until there is an answer; a 4xx is final."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return post(url, body, token=token)
        except PostError as error:
            if isinstance(error, StatusError) and 400 <= error.status < 500:
                raise Refused(f"refused by {url}: {_reason(error)}") from error
            if time.monotonic() > deadline:
                raise Refused(f"no answer for {PATIENCE_S} s: {error}") from error
            print(f"ironlease: {error}; retrying", flush=True)
            time.sleep(1)


def _reason(error: StatusError) -> str:
    """Return the reason in an RFC 9457 problem, or the status."""
    try:
        problem = json.loads(error.body)
        return f"{problem['detail']} ({error.status})"
    except (ValueError, KeyError, TypeError):
        return f"status {error.status}"


if __name__ == "__main__":
    raise SystemExit(main())
