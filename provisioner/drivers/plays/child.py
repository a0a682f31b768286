"""The process of one playbook run: reads a request, runs ansible-runner, prints events.

It is started in advance, so that its imports are done before a run is needed. Standard input stays
open while the run is wanted: at its end (cancelled, timed out, or the provisioner was killed),
every process that the run started is killed. Standard output is JSON lines for `runner.py`.
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from ansible_runner import Runner, RunnerConfig

PR_SET_CHILD_SUBREAPER = 36
MAX_RESULT_CHARS = 64 << 20
"""ansible-runner drops larger results; its own default is smaller than a large server's facts."""


def say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main() -> None:
    request = sys.stdin.buffer.readline()
    if not request:
        return
    run = json.loads(request)
    # Orphans become our children, so that a daemon's double fork does not escape the clean-up.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    threading.Thread(target=_end_with_the_caller, daemon=True).start()
    threading.Thread(target=_connect, args=(run,), daemon=True).start()
    config = RunnerConfig(
        private_data_dir=run["private_data_dir"],
        playbook=run["playbook"],
        inventory=run["inventory"],
        ident="run",
        envvars={"HOME": run["home"], "MAX_EVENT_RES": str(MAX_RESULT_CHARS)},
        quiet=True,
    )
    config.prepare()
    status, rc = Runner(config, event_handler=_on_event).run()
    say({"done": status, "rc": rc})


def _on_event(event: dict[str, Any]) -> bool:
    data = event.get("event_data") or {}
    result = data.get("res") or {}
    say(
        {
            "event": event["event"],
            "created": event.get("created"),
            "task": data.get("task", ""),
            "text": event.get("stdout", ""),
            "seconds": data.get("duration"),
            "message": result.get("msg"),
            "ironlease": result.get("ironlease"),
            "unreachable": data.get("dark"),
            "failures": data.get("failures"),
        }
    )
    return False  # do not write it to a file as well


def _connect(run: dict[str, Any]) -> None:
    """Open the SSH connection while Ansible starts; the play's own calls then share it."""
    subprocess.run(
        ["ssh", "-F", run["ssh_config"], "server", "true"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,  # the play meets the same failure and reports it
    )
    Path(run["connected"]).touch()


def _end_with_the_caller() -> NoReturn:
    while os.read(0, 4096):
        pass
    # Killing one may orphan its children to us: repeat until none is left.
    while children := list(_living_children()):
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    os._exit(1)


def _living_children() -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            # proc(5): state and parent follow the command's closing parenthesis.
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            if int(parent) == os.getpid() and state not in "ZX":
                yield int(entry.name)


if __name__ == "__main__":
    main()
