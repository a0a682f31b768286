"""A machine booted straight into an image, on QEMU's user network, and a simulated provisioner."""

from __future__ import annotations

import http.server
import json
import queue
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from lab.rack.qemu import ACCELERATION, on_one_cpu

MAC = "52:54:00:77:00:01"
SERIAL = "ILSRV01"
HOST = "10.0.2.2"  # this machine, as seen on QEMU's user network
PATIENCE_S = 240  # emulation is slow on a busy machine

Message = dict[str, Any]
Answer = tuple[int, Message | None]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class PlayedProvisioner(http.server.ThreadingHTTPServer):
    """Answers from `answers` (path → message or query → answer), and queues requests by path."""

    def __init__(self, answers: dict[str, Callable[[Message], Answer]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = answers
        self.asked = {path: queue.Queue[tuple[Message, str | None]]() for path in answers}

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_address[1]}"

    def next(self, path: str) -> tuple[Message, str | None]:
        """Wait for the next message to `path`; return it and its Authorization header."""
        return self.asked[path].get(timeout=PATIENCE_S)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: PlayedProvisioner

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(self.path, message)

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        self._answer(asked.path, dict(parse_qsl(asked.query)))

    def _answer(self, path: str, message: Message) -> None:
        status, answer = self.server.answers[path](message)
        content = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.server.asked[path].put((message, self.headers["Authorization"]))

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def provisioner(answers: dict[str, Callable[[Message], Answer]]) -> Iterator[PlayedProvisioner]:
    with PlayedProvisioner(answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@dataclass
class Machine:
    process: subprocess.Popen[bytes]
    console: Path
    ssh_port: int
    folder: Path

    def ssh(
        self, key: str, command: str, *, terminal: bool = False, connect_s: int = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as root with the key `key` of the folder; its known_hosts is pinned."""
        return subprocess.run(
            [
                *(
                    "ssh",
                    "-tt" if terminal else "-T",
                    "-F",
                    "none",
                    "-i",
                    self.folder / key,
                    "-p",
                    str(self.ssh_port),
                ),
                *("-o", f"UserKnownHostsFile={self.folder / 'known_hosts'}"),
                *("-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes"),
                *(
                    "-o",
                    "BatchMode=yes",
                    "-o",
                    f"ConnectTimeout={connect_s}",
                    "root@127.0.0.1",
                    command,
                ),
            ],
            check=False,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )


def make_key(folder: Path, name: str) -> str:
    """Create a key pair in `folder`; return the public key."""
    key = folder / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key], check=True)
    return key.with_suffix(".pub").read_text().strip()


@contextmanager
def machine(
    folder: Path, ssh_port: int, boot: Sequence[str | Path], disk: Path
) -> Iterator[Machine]:
    """Run a machine with one NVMe disk until the block ends; a reboot ends it as well."""
    console = folder / "console"
    process = subprocess.Popen(
        [
            *on_one_cpu(2),  # the first is for other tests' racks
            *("qemu-system-x86_64", "-machine", "q35", *ACCELERATION["tcg"]),
            *("-m", "550", "-display", "none", "-no-reboot", "-serial", f"file:{console}"),
            *("-smbios", f"type=1,serial={SERIAL}"),
            *("-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{ssh_port}-:22"),
            *("-device", f"virtio-net-pci,netdev=net,mac={MAC}", "-device", "virtio-rng-pci"),
            *("-drive", f"file={disk},format=raw,if=none,id=disk,cache=unsafe"),
            *("-device", "nvme,drive=disk,serial=IL01-A"),
            *boot,
        ],
        stdin=subprocess.DEVNULL,
    )
    try:
        yield Machine(process, console, ssh_port, folder)
    finally:
        process.kill()
        process.wait()
