"""Personalise a freshly written system for its customer and load its kernel for kexec.

Files are written from inside the system's root, so that no symbolic link in the image leads out of
it. The customer's text (user-data) is only ever copied, byte for byte.

Variables: `disk_serial`, `boot` {partition, kernel, cmdline, initrd?, user}, `instance_id`,
`hostname`, `authorized_keys`, `user_data`, `ssh_host_key`, `ssh_host_public_key`, `agent`
(null for a system without one), `network` (optional, a systemd-networkd file). Result:
`kexec_loaded`.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import subprocess

from module_utils.channel import Configuration, ServerFault, progress
from module_utils.disks import Disk, disk_by_serial

TYPE_CHECKING = False  # importing typing costs a slow server 30 ms
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

MOUNT_POINT = "/run/ironlease-system"
# Checksums are for crash kernels that stay in memory for days; ours starts within a second, and a
# slow CPU needs 2 s to compute them. The second way is for kernels locked down by Secure Boot.
KEXEC = (["kexec", "-c", "--no-checks"], ["kexec", "-s"])
SEED = "/var/lib/cloud/seed/nocloud"


def partition_path(disk: Disk, number: int) -> str:
    return f"{disk.path}{'p' if disk.name[-1].isdigit() else ''}{number}"


@contextlib.contextmanager
def mounted(partition: str) -> Iterator[None]:
    os.makedirs(MOUNT_POINT, exist_ok=True)
    if os.path.ismount(MOUNT_POINT):
        _unmount()  # left by a run that was killed
    done = subprocess.run(
        ["mount", "-o", "noatime,nodev", partition, MOUNT_POINT],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise Configuration(
            f"the root partition {partition} cannot be mounted: {done.stderr.strip()}",
            "check the image's boot facts (root partition), or import it again",
        )
    try:
        yield
    finally:
        _unmount()


def _unmount() -> None:
    done = subprocess.run(["umount", MOUNT_POINT], check=False, capture_output=True, text=True)
    if done.returncode:
        raise ServerFault(
            f"the written system cannot be unmounted: {done.stderr.strip()}", "reset the server"
        )


@contextlib.contextmanager
def inside(root: str) -> Iterator[None]:
    """Resolve absolute paths and links inside the written system."""
    outside = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    os.chroot(root)
    os.chdir("/")
    try:
        yield
    finally:
        os.fchdir(outside)
        os.chroot(".")
        os.close(outside)


def write(
    path: str,
    text: str,
    mode: int = 0o644,
    *,
    owner: tuple[int, int] = (0, 0),
    folder_mode: int = 0o755,
) -> None:
    """Replace whatever is at the path: it may be a link, or have other permissions."""
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        os.makedirs(folder, folder_mode)
        os.chown(folder, *owner)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with open(os.open(path, flags, mode), "w", newline="", encoding="utf-8") as file:
        file.write(text)
        os.fchmod(file.fileno(), mode)
        os.fchown(file.fileno(), *owner)


def account(user: str) -> tuple[str, tuple[int, int]]:
    """Return (home, (uid, gid)) from the system's own passwd."""
    with open("/etc/passwd") as passwd:
        for line in passwd:
            fields = line.rstrip("\n").split(":")
            if fields[0] == user:
                return fields[5], (int(fields[2]), int(fields[3]))
    raise Configuration(f"the image has no user {user!r}", "correct the image's boot facts")


def host_names(hostname: str) -> str:
    try:
        with open("/etc/hosts") as hosts:
            kept = [line for line in hosts if not line.startswith("127.0.1.1")]
    except FileNotFoundError:
        kept = ["127.0.0.1\tlocalhost\n"]
    return "".join(kept) + f"127.0.1.1\t{hostname}\n"


def personalise(variables: dict[str, Any]) -> None:
    hostname = variables["hostname"]
    write("/etc/hostname", hostname + "\n")
    write("/etc/hosts", host_names(hostname))
    write("/etc/machine-id", "", 0o444)  # each system generates its own
    write(
        f"{SEED}/meta-data",
        f"instance-id: {variables['instance_id']}\nlocal-hostname: {hostname}\n",
    )
    write(f"{SEED}/user-data", variables["user_data"] or "", 0o600)
    home, owner = account(variables["boot"]["user"])
    keys = "".join(f"{key.strip()}\n" for key in variables["authorized_keys"])
    write(f"{home}/.ssh/authorized_keys", keys, 0o600, owner=owner, folder_mode=0o700)
    for old in glob.glob("/etc/ssh/ssh_host_*"):
        os.unlink(old)  # a key that was not issued must never be shown
    write("/etc/ssh/ssh_host_ed25519_key", variables["ssh_host_key"].rstrip("\n") + "\n", 0o600)
    public = variables["ssh_host_public_key"].strip()
    write("/etc/ssh/ssh_host_ed25519_key.pub", public + "\n")
    if variables["agent"]:
        write("/etc/ironlease/agent.json", json.dumps(variables["agent"]) + "\n", 0o600)
    if variables.get("network"):
        write("/etc/systemd/network/05-ironlease.network", variables["network"])


def load_kernel(boot: dict[str, Any]) -> bool:
    """Return whether `kexec -e` will start the system; otherwise a firmware reset has to."""
    with contextlib.ExitStack() as opened:
        try:
            with inside(MOUNT_POINT):
                cmdline = opened.enter_context(open(boot["cmdline"])).read().strip()
                numbers = [
                    opened.enter_context(open(boot[name], "rb")).fileno()
                    for name in ("kernel", "initrd")
                    if boot.get(name)
                ]
        except OSError as error:
            raise Configuration(
                f"the image has no {error.filename}", "correct the image's boot facts"
            ) from error
        paths = [f"/proc/self/fd/{number}" for number in numbers]
        system = [paths[0], f"--command-line={cmdline}", *(f"--initrd={p}" for p in paths[1:])]
        for how in KEXEC:
            done = subprocess.run(
                [*how, "-l", *system], pass_fds=numbers, check=False, capture_output=True, text=True
            )
            if done.returncode == 0:
                return True
            progress(f"{' '.join(how)} refused the kernel: {done.stderr.strip()}")
    return False


def main(variables: dict[str, Any]) -> dict[str, Any]:
    boot = variables["boot"]
    disk = disk_by_serial(variables["disk_serial"])
    with mounted(partition_path(disk, boot["partition"])):
        try:
            with inside(MOUNT_POINT):
                personalise(variables)
        except OSError as error:
            raise ServerFault(
                f"writing {error.filename} failed: {error.strerror}",
                "check the disk's health; the image may have no free space",
            ) from error
        loaded = load_kernel(boot)
    return {"kexec_loaded": loaded}
