"""The files of one playbook run: inventory, pinned host key, SSH settings, variables.

Variables are in a file of their own that only the action plugin reads: they are never templated,
never on a command line, and removed before anything of a failed run is kept.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ulid import ULID

from provisioner.drivers.ssh.base import SshTarget

CONTROL_PERSIST_S = 15
"""Consecutive plays share one SSH connection. Shorter than any reboot."""

SSH_CONFIG = """\
Host server
  HostName {address}
  Port {port}
  User {user}
  IdentityFile "{key}"
  IdentitiesOnly yes
  PreferredAuthentications publickey
  BatchMode yes
  HostKeyAlias server
  UserKnownHostsFile "{known_hosts}"
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  KexAlgorithms ^curve25519-sha256
  ConnectTimeout 10
  ServerAliveInterval 10
  ServerAliveCountMax 3
  ControlMaster auto
  ControlPath "{control}"
  ControlPersist {persist}
  LogLevel ERROR
"""


@dataclass(frozen=True, slots=True)
class Workspace:
    """One run's private folder (mode 0700)."""

    path: Path

    @classmethod
    def create(
        cls,
        root: Path,
        target: SshTarget,
        variables: Mapping[str, Any],
        *,
        key: Path,
        control_dir: Path,
    ) -> "Workspace":
        self = cls(root / str(ULID()))
        self.path.mkdir(mode=0o700, parents=True)
        self.home.mkdir()
        self.variables.touch(mode=0o600)
        self.variables.write_text(json.dumps(dict(variables)), encoding="utf-8")
        known_hosts = self.path / "known_hosts"
        known_hosts.write_text(f"server {target.host_key.strip()}\n", encoding="utf-8")
        self.ssh_config.write_text(
            SSH_CONFIG.format(
                address=target.address,
                port=target.port,
                user=target.user,
                key=key,
                known_hosts=known_hosts,
                control=control_dir / _connection_name(target),
                persist=CONTROL_PERSIST_S,
            ),
            encoding="utf-8",
        )
        host = {
            "ansible_host": target.address,
            "ansible_port": target.port,
            "ansible_user": target.user,
            "ansible_ssh_common_args": f"-F '{self.ssh_config}' -o HostKeyAlias=server",
            "variables_file": str(self.variables),
            "ssh_config": str(self.ssh_config),
            "connected_file": str(self.connected),
        }
        self.inventory.write_text(
            json.dumps({"all": {"hosts": {"server": host}}}), encoding="utf-8"
        )
        return self

    @property
    def home(self) -> Path:
        return self.path / "home"

    @property
    def variables(self) -> Path:
        return self.path / "variables.json"

    @property
    def inventory(self) -> Path:
        return self.path / "hosts.yml"

    @property
    def ssh_config(self) -> Path:
        return self.path / "ssh_config"

    @property
    def connected(self) -> Path:
        """Exists once the first connection attempt has ended, successful or not."""
        return self.path / "connected"

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def keep(self, folder: Path, *, at_most: int) -> Path:
        """Move the files that help explain a failure to `folder`, without variables; prune it."""
        self.variables.unlink(missing_ok=True)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        kept = self.path.rename(folder / self.path.name)
        for old in sorted(folder.iterdir())[:-at_most]:  # ULIDs sort by time
            shutil.rmtree(old, ignore_errors=True)
        return kept


def _connection_name(target: SshTarget) -> str:
    """Return a short name, as socket paths are limited; the host key makes it new for each boot."""
    identity = f"{target.user}@{target.address}:{target.port} {target.host_key}"
    return hashlib.sha256(identity.encode()).hexdigest()[:16]
