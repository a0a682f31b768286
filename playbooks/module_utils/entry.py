"""The first program on the server: receives a module on standard input, answers in JSON lines.

Never imported: `action_plugins/on_server.py` sends it. It uses only the cheap parts of the standard
library, because start-up time counts.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import threading
import time
import types

TYPE_CHECKING = False  # importing typing costs a slow server 30 ms
if TYPE_CHECKING:
    from typing import IO, Any

LOCK = "/run/ironlease-play.lock"
LOCK_PATIENCE_S = 30.0


def say(message: dict[str, Any]) -> None:
    """Write one line to the channel: the real standard output, reserved for this."""
    CHANNEL.write(json.dumps({"ironlease": message}).encode() + b"\n")
    CHANNEL.flush()


def end_with_the_caller() -> None:
    """End when standard input closes: the caller holds it open for as long as it lives.

    Without this, a run whose provisioner was killed would go on beside its successor.
    """
    while os.read(0, 65536):
        pass
    os.killpg(0, signal.SIGKILL)


def lock() -> IO[str] | None:
    """Allow one run on a server at a time, whatever became of the one before."""
    handle = open(LOCK, "w")  # noqa: SIM115  held until this process ends
    deadline = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        except BlockingIOError:
            if time.monotonic() > deadline:
                return None
        time.sleep(0.05)


def load(sources: list[tuple[str, str]]) -> types.ModuleType:
    """Make the sources importable, in the order sent; the last one is the module."""
    package = sys.modules["module_utils"] = types.ModuleType("module_utils")
    package.__path__ = []
    for name, text in sources:
        module = types.ModuleType(name)
        sys.modules[name] = module
        exec(compile(text, name.replace(".", "/") + ".py", "exec"), module.__dict__)
    return module


def run(payload: dict[str, Any]) -> dict[str, Any]:
    handle = lock()
    if handle is None:
        return {
            "failure": {
                "kind": "transient",
                "reason": "an earlier run is still at work on this server",
                "next_action": "wait: a disk may still be being sanitised",
            }
        }
    module = load(payload["sources"])
    channel = sys.modules.get("module_utils.channel")
    if channel is None:
        return {"result": module.main(payload["variables"])}
    channel.connect(say)
    try:
        return {"result": module.main(payload["variables"])}
    except channel.Failure as failure:
        return {"failure": failure.as_dict(), "result": failure.result}


CHANNEL = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)  # what a module's children print is never an answer
received = json.loads(sys.stdin.buffer.readline())
threading.Thread(target=end_with_the_caller, daemon=True).start()
say(run(received))
os._exit(0)  # the watching thread blocks in a read that nothing else ends
