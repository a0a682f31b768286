"""A real `sshd` on loopback for the tests, with keys and configuration of its own."""

import asyncio
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from provisioner.drivers.ssh.base import SshTarget

_CONFIG = """
ListenAddress 127.0.0.1
Port {port}
{host_keys}
AuthorizedKeysFile {folder}/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PidFile none
"""


def make_key(path: Path, kind: str = "ed25519") -> str:
    """Create a key pair at `path`; return the public line."""
    command = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "test", "-f", str(path)]
    subprocess.run(command, check=True)
    return path.with_suffix(".pub").read_text().strip()


def free_tcp_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@dataclass
class SshServer:
    folder: Path
    port: int
    host_keys: dict[str, str]
    process: asyncio.subprocess.Process

    @classmethod
    async def start(cls, folder: Path, kinds: tuple[str, ...] = ("ed25519",)) -> "SshServer":
        host_keys = {kind: folder / f"host_{kind}" for kind in kinds}
        port, config = free_tcp_port(), folder / "sshd_config"
        public = _prepare(folder, config, port, host_keys)
        process = await asyncio.create_subprocess_exec(
            *("/usr/sbin/sshd", "-D", "-e", "-f", config),
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        while b"listening" not in (line := await process.stderr.readline()):
            assert line, "sshd ended at its start"
        return cls(folder, port, public, process)

    def target(self, kind: str = "ed25519", **changed: str) -> SshTarget:
        return SshTarget(
            **{
                "address": "127.0.0.1",
                "port": self.port,
                "host_key": self.host_keys[kind],
                **changed,
            }  # type: ignore[arg-type]
        )

    def authorize(self, *public_keys: str) -> None:
        (self.folder / "authorized_keys").write_text("".join(f"{key}\n" for key in public_keys))

    async def stop(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


def _prepare(folder: Path, config: Path, port: int, host_keys: dict[str, Path]) -> dict[str, str]:
    folder.mkdir()
    Path("/run/sshd").mkdir(exist_ok=True)  # sshd's empty folder for privilege separation
    (folder / "authorized_keys").touch()
    lines = "\n".join(f"HostKey {path}" for path in host_keys.values())
    config.write_text(_CONFIG.format(port=port, folder=folder, host_keys=lines))
    return {kind: make_key(path, kind) for kind, path in host_keys.items()}
