"""A server's serial console on this terminal, bypassing its BMC; Ctrl-] leaves."""

from __future__ import annotations

import os
import selectors
import socket
import sys
import termios
import tty
from pathlib import Path

LEAVE = b"\x1d"
_CHUNK = 65536


def interact(console: Path) -> None:
    """Connect this terminal to a console socket until Ctrl-] or the rack ends."""
    terminal = sys.stdin.fileno()
    with socket.socket(socket.AF_UNIX) as line, selectors.DefaultSelector() as ready:
        line.connect(str(console))
        ready.register(terminal, selectors.EVENT_READ)
        ready.register(line, selectors.EVENT_READ)
        before = termios.tcgetattr(terminal) if os.isatty(terminal) else None
        if before is not None:
            tty.setraw(terminal)
        try:
            _pass_on(terminal, line, ready)
        finally:
            if before is not None:
                termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _pass_on(terminal: int, line: socket.socket, ready: selectors.BaseSelector) -> None:
    while True:
        for key, _ in ready.select():
            if key.fd == terminal:
                typed = os.read(terminal, _CHUNK)
                if not typed or LEAVE in typed:
                    return
                line.sendall(typed)
            else:
                data = line.recv(_CHUNK)
                if not data:
                    return
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
