"""NVMe admin commands by the kernel's passthrough: identify, logs, format, sanitize.

Sent straight to the disk, not through nvme-cli: the status code tells a refusal from a failure, and
a call takes milliseconds. Section numbers are those of NVMe Base Specification 2.0.
"""

from __future__ import annotations

import array
import fcntl
import os
import struct
import time

TYPE_CHECKING = False  # importing typing costs a slow server 30 ms
if TYPE_CHECKING:
    from collections.abc import Callable

NVME_IOCTL_ADMIN_CMD = 0xC0484E41
ALL_NAMESPACES = 0xFFFFFFFF
LONG_MS = 24 * 3600 * 1000

# Status codes of a controller that does not support a command (section 3.3.3.2.1).
INVALID_OPCODE, INVALID_FIELD = 0x01, 0x02
_STATUS = 0x7FF  # status code type and status code, without "do not retry" and "more"

SANITIZE_BLOCK_ERASE, SANITIZE_CRYPTO_ERASE = 2, 4
FORMAT_USER_DATA_ERASE, FORMAT_CRYPTO_ERASE = 1, 2


class NvmeError(Exception):
    """The controller completed a command with a status other than success."""

    def __init__(self, command: str, status: int) -> None:
        super().__init__(f"{command}: NVMe status {status:#06x}")
        self.refused = status & _STATUS in (INVALID_OPCODE, INVALID_FIELD)


class Controller:
    """The controller of a namespace (`/dev/nvmeXnY`), open for admin commands.

    Raises NvmeError, and OSError when the device is gone.
    """

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_RDONLY)

    def __enter__(self) -> Controller:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    def _admin(
        self,
        name: str,
        opcode: int,
        *,
        nsid: int = 0,
        cdw10: int = 0,
        read_bytes: int = 0,
        timeout_ms: int = 0,
    ) -> bytes:
        data = array.array("B", bytes(read_bytes))
        address = data.buffer_info()[0] if read_bytes else 0
        # struct nvme_passthru_cmd of linux/nvme_ioctl.h
        command = struct.pack(
            "<BBHIIIQQIIIIIIIIII",
            *(opcode, 0, 0, nsid, 0, 0, 0, address, 0, read_bytes),
            *(cdw10, 0, 0, 0, 0, 0, timeout_ms, 0),
        )
        status = fcntl.ioctl(self.fd, NVME_IOCTL_ADMIN_CMD, bytearray(command), True)
        if status:
            raise NvmeError(name, status)
        return data.tobytes()

    def capabilities(self) -> dict[str, bool]:
        """What the controller can do, from Identify Controller (section 5.17.2.1)."""
        identity = self._admin("identify", 0x06, cdw10=1, read_bytes=4096)
        optional_commands = struct.unpack_from("<H", identity, 256)[0]  # OACS
        format_attributes = identity[524]  # FNA
        sanitize = struct.unpack_from("<I", identity, 328)[0]  # SANICAP
        can_format = bool(optional_commands & 0b10)
        return {
            "sanitize_crypto": bool(sanitize & 0b1),
            "sanitize_block": bool(sanitize & 0b10),
            "format_user_data": can_format,
            "format_crypto": can_format and bool(format_attributes & 0b100),
        }

    def critical_warning(self) -> int:
        """SMART / Health Information, byte 0 (section 5.16.1.3): 0 is healthy."""
        return self._log("health log", 0x02)[0]

    def _log(self, name: str, page: int) -> bytes:
        dwords = 512 // 4 - 1
        cdw10 = page | dwords << 16
        return self._admin(name, 0x02, nsid=ALL_NAMESPACES, cdw10=cdw10, read_bytes=512)

    def sanitize_state(self) -> tuple[int, float]:
        """(state, progress 0..1); state 0 never, 1 done, 2 running, 3 failed, 4 done without
        deallocation (Sanitize Status log, section 5.16.1.25)."""
        progress, status = struct.unpack_from("<HH", self._log("sanitize log", 0x81))
        return status & 0b111, progress / 65536

    def start_sanitize(self, action: int) -> None:
        """Section 5.24. Returns at once; the disk goes on by itself, over power cycles too."""
        self._admin("sanitize", 0x84, cdw10=action)

    def format(self, namespace: int, settings: int) -> None:
        """Section 5.14: `settings` is Secure Erase Settings, 1 user data or 2 cryptographic; 0
        erases nothing and is refused here. The namespace keeps its LBA format and protection."""
        if settings not in (FORMAT_USER_DATA_ERASE, FORMAT_CRYPTO_ERASE):
            raise ValueError(f"secure erase setting {settings} erases nothing")
        identity = self._admin("identify namespace", 0x06, nsid=namespace, read_bytes=4096)
        size, protection = identity[26], identity[29]  # FLBAS, DPS
        keep = size & 0xF | (size >> 4 & 1) << 4 | (protection & 0b111) << 5
        keep |= (protection >> 3 & 1) << 8 | (size >> 5 & 0b11) << 12
        cdw10 = keep | settings << 9
        self._admin("format", 0x80, nsid=namespace, cdw10=cdw10, timeout_ms=LONG_MS)

    def wait_for_sanitize(self, on_progress: Callable[[float], None], poll_s: float = 0.5) -> bool:
        """Until a running sanitize ends. True when it succeeded."""
        while True:
            state, done = self.sanitize_state()
            if state != 2:
                return state in (1, 4)
            on_progress(done)
            time.sleep(poll_s)
