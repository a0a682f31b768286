"""Applies a NoCloud seed once for each instance id: host name, SSH keys, and a user-data script.

meta-data is JSON or flat YAML (`key: value`, and a list under `public-keys`); user-data is run if
it begins with `#!`, after the network is up. Other user-data is reported and ignored: install
cloud-init for cloud-config.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

SEED = Path("/var/lib/cloud/seed/nocloud")
STATE = Path("/var/lib/ironlease")


def main() -> int:
    """Apply what has not been applied; return the user-data script's exit status."""
    meta = parse((SEED / "meta-data").read_text())
    instance = str(meta.get("instance-id", ""))
    done = STATE / "instance-id"
    if done.is_file() and done.read_text() == instance:
        return 0
    set_hostname(str(meta.get("local-hostname", "")))
    add_keys(meta.get("public-keys") or [])
    # Written first: a script that reboots or is interrupted is not run again.
    STATE.mkdir(parents=True, exist_ok=True)
    done.write_text(instance)
    return run_user_data()


def parse(text: str) -> dict[str, object]:
    """Return meta-data as a dict."""
    if text.lstrip().startswith("{"):
        loaded = json.loads(text)
        return loaded if isinstance(loaded, dict) else {}
    found: dict[str, object] = {}
    items: list[str] = []
    for line in text.splitlines():
        if line.lstrip().startswith("- "):
            items.append(scalar(line.lstrip()[2:]))
        elif ":" in line and not line.lstrip().startswith("#"):
            key, _, value = line.partition(":")
            items = []
            found[key.strip()] = scalar(value) or items
    return found


def scalar(text: str) -> str:
    return text.strip().strip("'\"")


def set_hostname(name: str) -> None:
    if name and name != socket.gethostname():
        Path("/etc/hostname").write_text(name + "\n")
        socket.sethostname(name)


def add_keys(keys: object) -> None:
    """Add missing keys to root's authorised keys."""
    if isinstance(keys, dict):
        keys = list(keys.values())
    file = Path("/root/.ssh/authorized_keys")
    present = file.read_text().splitlines() if file.is_file() else []
    new = [str(key) for key in keys if str(key) not in present] if isinstance(keys, list) else []
    if new:
        file.parent.mkdir(mode=0o700, exist_ok=True)
        file.write_text("\n".join([*present, *new]) + "\n")
        file.chmod(0o600)


def run_user_data() -> int:
    user_data = SEED / "user-data"
    if not user_data.is_file() or not user_data.stat().st_size:
        return 0
    content = user_data.read_bytes()
    if not content.startswith(b"#!"):
        print(f"{user_data}: not a script (#!), ignored", file=sys.stderr)
        return 0
    script = STATE / "user-data"
    script.write_bytes(content)
    script.chmod(0o700)
    environment = {**os.environ, "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run([script], check=False, env=environment, cwd="/root").returncode


if __name__ == "__main__":
    raise SystemExit(main())
