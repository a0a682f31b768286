"""A whole site on the virtual rack: the rack's machines and a provisioner that runs them.

The provisioner is a process of its own inside the rack's network namespace, so it can be killed and
restarted; people reach it through a socket on loopback that outlives it.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from lab import images
from lab.rack import Rack
from lab.rack.switch import BRIDGE, PROVISIONER_PORT

MACHINE_URL = "http://10.77.0.1:8080"
STATE_ROOT = Path("/var/tmp/ironlease-lab")
PYTHON = sys.executable
_START_S = 60
_POLL_S = 0.3
_T = TypeVar("_T")


class SiteError(Exception):
    """The site did not reach the expected state; the message says where to look."""


class Site:
    """A rack, a provisioner and an API client with the administrator's token."""

    def __init__(
        self,
        rack: Rack,
        *,
        port: int = 0,
        database_url: str = "",
        full_kernel: bool = False,
        **settings: str,
    ) -> None:
        """`port` of loopback is where people reach the service (0: any free one).

        `settings` are further `IRONLEASE_…` variables, by their lower-case names.
        """
        self.rack = rack
        self.folder = STATE_ROOT / f"{rack.name}-provisioner"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.log = self.folder / "provisioner.log"
        self._socket = socket.create_server(("127.0.0.1", port))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.environment = {
            **os.environ,
            "IRONLEASE_DATA_DIR": str(self.folder / "data"),
            "DATABASE_URL": database_url,
            "IRONLEASE_LISTEN_HOST": "10.77.0.1",
            "IRONLEASE_LISTEN_PORT": "8080",
            "IRONLEASE_PUBLIC_URL": self.url,
            "IRONLEASE_MACHINE_URL": MACHINE_URL,
            "IRONLEASE_MACHINE_NETWORKS": '["10.77.0.0/24"]',
            "IRONLEASE_RAMDISK_DIR": str(images.ramdisk(full_kernel=full_kernel)),
            "IRONLEASE_NETBOOT_INTERFACE": "prov",
            "IRONLEASE_NETBOOT_DIR": f"/run/ironlease-netboot/{rack.name}",
            "IRONLEASE_SWITCH_RUN_DIR": str(rack.plan.ovs_folder),
            "IRONLEASE_SWITCH_BRIDGE": BRIDGE,
            "IRONLEASE_SWITCH_PROVISIONER_PORT": PROVISIONER_PORT,
            "IRONLEASE_BOOT_LIMIT_S": "180",
            "IRONLEASE_TENANT_BOOT_LIMIT_S": "120",
            **{f"IRONLEASE_{name.upper()}": value for name, value in settings.items()},
        }
        self._provisioner: subprocess.Popen[bytes] | None = None
        self.token = self._admin_token()
        self.api = httpx.Client(
            base_url=f"{self.url}/v1",
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=30,
        )

    def _admin_token(self) -> str:
        made = subprocess.run(
            [PYTHON, "-m", "provisioner", "admin-token"],
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return made.stdout.strip()

    def start(self) -> None:
        """Start the provisioner and wait until it answers."""
        self._socket.set_inheritable(True)
        descriptor = self._socket.fileno()
        # sd_listen_fds(3): the socket is descriptor 3, and LISTEN_PID the process itself. bash,
        # because sh (dash) does not accept two-digit descriptors.
        script = f'exec 3<&{descriptor}; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"'
        command = [PYTHON, "-m", "provisioner"]
        with self.log.open("ab") as log:
            self._provisioner = subprocess.Popen(
                self.rack.command(["bash", "-c", script, "bash", *command]),
                env=self.environment,
                pass_fds=[descriptor],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.wait_for("the provisioner to answer", self._answers, _START_S)

    def _answers(self) -> bool:
        if self._provisioner is None or self._provisioner.poll() is not None:
            raise SiteError(f"the provisioner ended; see {self.log}:\n{self.log_tail()}")
        try:
            return httpx.get(f"{self.url}/healthz", timeout=2).is_success
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        """End the provisioner as an operator would."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the provisioner as a crash would; its children die too, as on a crashed machine."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._provisioner is not None and self._provisioner.poll() is None:
            self._provisioner.send_signal(number)
            self._provisioner.wait(timeout=30)
        self._provisioner = None

    def close(self) -> None:
        """End the provisioner; the rack stays."""
        self.stop()
        self.api.close()
        self._socket.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def log_tail(self, lines: int = 30) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def get(self, path: str, **parameters: Any) -> Any:
        return self._checked(self.api.get(path, params=parameters))

    def post(self, path: str, body: dict[str, Any] | None = None, **options: Any) -> Any:
        return self._checked(self.api.post(path, json=body or {}, **options))

    def _checked(self, answer: httpx.Response) -> Any:
        if answer.is_error:
            raise SiteError(f"{answer.request.method} {answer.request.url}: {answer.text}")
        return answer.json() if answer.content else None

    def import_tenant_image(self) -> None:
        """Offer the lab's Debian."""
        folder = images.tenant()
        boot = json.loads((folder / "image.json").read_text())
        name, title = boot.pop("name"), boot.pop("title")
        self.import_image(folder / "disk.raw", name, title, boot)

    def import_image(self, disk: Path, name: str, title: str, boot: dict[str, Any]) -> None:
        """Import a raw disk, which is first copied to the folder that images are imported from."""
        imports = self.folder / "data" / "import"
        imports.mkdir(parents=True, exist_ok=True)
        copy = imports / disk.name
        try:
            subprocess.run(["cp", "--sparse=always", "--reflink=auto", disk, copy], check=True)
            body = {"path": disk.name, "name": name, "title": title, "boot": boot}
            self.post("/images", body, timeout=300)
        finally:
            copy.unlink(missing_ok=True)

    def enrol(self) -> None:
        """Enrol every server of the rack."""
        self.post("/enrolments", {"documents": [self.rack.inventory()]})

    def server(self, name: str) -> Any:
        return self.get(f"/servers/{name}")

    def wait_for_state(self, name: str, *states: str, timeout_s: float) -> Any:
        """Wait until a server is in one of the states; return it as the API shows it."""

        def reached() -> Any:
            server = self.server(name)
            return server if server["state"] in states else None

        return self.wait_for(f"{name} to become {' or '.join(states)}", reached, timeout_s)

    def wait_for(self, what: str, look: Callable[[], _T], timeout_s: float) -> _T:
        """Poll until `look` returns something true. Raises SiteError with the servers' states."""
        deadline = time.monotonic() + timeout_s
        while True:
            seen = look()
            if seen:
                return seen
            if time.monotonic() > deadline:
                raise SiteError(f"waited {timeout_s:.0f} s for {what}\n{self._standing()}")
            time.sleep(_POLL_S)

    def _standing(self) -> str:
        servers = self.get("/servers")["items"]
        standing = [
            f"{s['name']}: {s['state']} for {s['seconds_in_state']:.0f} s, "
            f"{(s['operation'] or {}).get('step', '-')} {s['reason']}"
            for s in servers
        ]
        return "\n".join([*standing, self.log_tail()])
