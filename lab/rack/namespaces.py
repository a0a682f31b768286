"""Network namespaces of a rack, entered by a thread for the duration of one call.

The rack's own namespace holds the provisioner's and the BMCs' addresses. The switch and its ports
have one without any address: the kernel would answer for its own addresses on every port, bypassing
the userspace switch.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from lab.rack.errors import RackError

FOLDER = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454CA
_IFF_TAP_NO_HEADER = 0x1002
_T = TypeVar("_T")


def fabric(rack: str) -> str:
    """Return the namespace of the rack's switch and the servers' ports on it."""
    return f"{rack}-sw"


def inside(namespace: str, call: Callable[[], _T]) -> _T:
    """Call a function in a namespace; sockets it opens stay there after it returns.

    Raises RackError if the namespace cannot be entered.
    """
    with ThreadPoolExecutor(1) as thread:
        thread.submit(_enter, namespace).result()
        return thread.submit(call).result()


def open_tap(namespace: str, name: str) -> int:
    """Return a file descriptor of an existing tap: frames only, no offloads.

    The switch passes frames unchanged, so their checksums must be complete.
    """
    return inside(namespace, lambda: _open_tap(name))


def _enter(namespace: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    with (FOLDER / namespace).open() as entry:
        if libc.setns(entry.fileno(), _CLONE_NEWNET) != 0:
            reason = os.strerror(ctypes.get_errno())
            raise RackError(f"cannot enter the network namespace {namespace}: {reason}")


def _open_tap(name: str) -> int:
    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH14x", name.encode(), _IFF_TAP_NO_HEADER))
    return tap
