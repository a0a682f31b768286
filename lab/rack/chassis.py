"""The program that a BMC runs to read or change its server's power and boot device.

`chassis.py SOCKET SERVER get power boot`, `… set power 1`, as ipmi_sim calls its chassis_control.
It passes the words to the rack process and prints the answer; it imports next to nothing, to be
fast.
"""

import _socket
import sys

_OK = b"ok\n"


def main(path: str, *words: str) -> int:
    link = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    link.settimeout(20)
    link.connect(path)
    link.send(" ".join(words).encode() + b"\n")
    answer = b""
    while data := link.recv(4096):
        answer += data
    if not answer.endswith(_OK):
        sys.stderr.write(answer.decode())
        return 1
    sys.stdout.write(answer.removesuffix(_OK).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
