"""Makes a freshly written system the customer's, and loads its kernel for kexec.

Files are written from inside the system's root, so that no symbolic link of the image leads out
of it. Customer text (user-data) is only ever copied, byte for byte.

Variables: `disk_serial`, `boot` {partition, kernel, cmdline, initrd?, user}, `instance_id`,
`hostname`, `authorized_keys`, `user_data`, `ssh_host_key`, `ssh_host_public_key`, `agent`,
`network` (optional, a systemd-networkd file). Result: `kexec_loaded`.
"""

import contextlib
import glob
import json
import os
import subprocess

from module_utils.channel import Configuration, ServerFault, progress
from module_utils.disks import disk_by_serial

MOUNT_POINT = "/run/ironlease-system"
SEED = "/var/lib/cloud/seed/nocloud"


def partition_path(disk, number):
    return f"{disk.path}{'p' if disk.name[-1].isdigit() else ''}{number}"


@contextlib.contextmanager
def mounted(partition):
    os.makedirs(MOUNT_POINT, exist_ok=True)
    done = subprocess.run(
        ["mount", "-o", "noatime,nodev", partition, MOUNT_POINT], capture_output=True, text=True
    )
    if done.returncode:
        raise Configuration(
            f"the root partition {partition} cannot be mounted: {done.stderr.strip()}",
            "check the image's boot facts (root partition), or import it again",
        )
    try:
        yield
    finally:
        done = subprocess.run(["umount", MOUNT_POINT], capture_output=True, text=True)
    if done.returncode:
        raise ServerFault(
            f"the written system cannot be unmounted: {done.stderr.strip()}", "reset the server"
        )


@contextlib.contextmanager
def inside(root):
    """Every absolute path, and every link, is the written system's own."""
    outside = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    os.chroot(root)
    os.chdir("/")
    try:
        yield
    finally:
        os.fchdir(outside)
        os.chroot(".")
        os.close(outside)


def write(path, text, mode=0o644, owner=(0, 0), folder_mode=0o755):
    """Anew, never through what lies at the path: it may be a link, or have other rights."""
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


def account(user):
    """(home, (uid, gid)) out of the system's own passwd."""
    with open("/etc/passwd") as passwd:
        for line in passwd:
            fields = line.rstrip("\n").split(":")
            if fields[0] == user:
                return fields[5], (int(fields[2]), int(fields[3]))
    raise Configuration(f"the image has no user {user!r}", "correct the image's boot facts")


def host_names(hostname):
    try:
        with open("/etc/hosts") as hosts:
            kept = [line for line in hosts if not line.startswith("127.0.1.1")]
    except FileNotFoundError:
        kept = ["127.0.0.1\tlocalhost\n"]
    return "".join(kept) + f"127.0.1.1\t{hostname}\n"


def personalise(variables):
    hostname = variables["hostname"]
    write("/etc/hostname", hostname + "\n")
    write("/etc/hosts", host_names(hostname))
    write("/etc/machine-id", "", 0o444)  # each system makes its own
    write(
        f"{SEED}/meta-data",
        f"instance-id: {variables['instance_id']}\nlocal-hostname: {hostname}\n",
    )
    write(f"{SEED}/user-data", variables["user_data"] or "", 0o600)
    home, owner = account(variables["boot"]["user"])
    keys = "".join(f"{key.strip()}\n" for key in variables["authorized_keys"])
    write(f"{home}/.ssh/authorized_keys", keys, 0o600, owner, 0o700)
    for old in glob.glob("/etc/ssh/ssh_host_*"):
        os.unlink(old)  # a key that was not issued must never be offered
    write("/etc/ssh/ssh_host_ed25519_key", variables["ssh_host_key"].rstrip("\n") + "\n", 0o600)
    public = variables["ssh_host_public_key"].strip()
    write("/etc/ssh/ssh_host_ed25519_key.pub", public + "\n")
    write("/etc/ironlease/agent.json", json.dumps(variables["agent"]) + "\n", 0o600)
    if variables.get("network"):
        write("/etc/systemd/network/05-ironlease.network", variables["network"])


def load_kernel(boot):
    """True when `kexec -e` will start the system; without it a firmware reset does."""
    files = []
    try:
        with inside(MOUNT_POINT):
            with open(boot["cmdline"]) as file:
                cmdline = file.read().strip()
            files = [open(boot[name], "rb") for name in ("kernel", "initrd") if boot.get(name)]
    except OSError as error:
        raise Configuration(
            f"the image has no {error.filename}", "correct the image's boot facts"
        ) from error
    paths = [f"/proc/self/fd/{file.fileno()}" for file in files]
    command = ["kexec", "-s", "-l", paths[0], f"--command-line={cmdline}"]
    command += [f"--initrd={path}" for path in paths[1:]]
    numbers = [file.fileno() for file in files]
    done = subprocess.run(command, pass_fds=numbers, capture_output=True, text=True)
    for file in files:
        file.close()
    if done.returncode:
        progress(f"kexec does not take the kernel: {done.stderr.strip()}")
    return done.returncode == 0


def main(variables):
    boot = variables["boot"]
    disk = disk_by_serial(variables["disk_serial"])
    with mounted(partition_path(disk, boot["partition"])):
        try:
            with inside(MOUNT_POINT):
                personalise(variables)
        except OSError as error:
            raise ServerFault(
                f"writing {error.filename} failed: {error.strerror}",
                "look at the disk's health; the image may have no free space",
            ) from error
        loaded = load_kernel(boot)
    return {"kexec_loaded": loaded}
