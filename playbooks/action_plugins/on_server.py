"""Runs one of our own modules on the server in a single SSH round trip.

The module (standard-library Python from `library/`) and its variables go to the server's `python3`
over standard input; answers come back as JSON lines, progress at once. Compared with an ordinary
module this saves the archive, the temporary files and Ansible's own imports on the server: seconds
on a slow one. Variables are read from a file and never pass through templating, a command line or
an event, so hostile text stays text and secrets stay out of logs.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections import deque
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

PLAYBOOKS = Path(__file__).resolve().parent.parent
# -I and -S: nothing of the server's environment is imported, and Python starts three times as fast.
REMOTE = "exec python3 -I -S -c 'import json,sys;exec(json.loads(sys.stdin.buffer.readline()))'"
SSH_OWN_FAILURE = 255
CONNECT_PATIENCE_S = 15
IMPORT = re.compile(r"^from module_utils\.(\w+) import", re.MULTILINE)

display = Display()


def sources(module: str) -> list[tuple[str, str]]:
    """The module and what it imports from `module_utils/`, dependencies first."""
    found: dict[str, str] = {}

    def visit(name: str, path: Path) -> None:
        if name in found:
            return
        text = path.read_text(encoding="utf-8")
        for needed in IMPORT.findall(text):
            visit(f"module_utils.{needed}", PLAYBOOKS / "module_utils" / f"{needed}.py")
        found[name] = text

    visit(module, PLAYBOOKS / "library" / f"{module}.py")
    return list(found.items())


class ActionModule(ActionBase):  # type: ignore[misc]
    """`on_server: {module: NAME}`; variables come from the file named by `variables_file`."""

    _VALID_ARGS = frozenset({"module"})

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        module = str(self._task.args["module"])
        variables = json.loads(Path(str(task_vars["variables_file"])).read_text(encoding="utf-8"))
        payload = {"module": module, "sources": sources(module), "variables": variables}
        _await_connection(task_vars)
        entry = (PLAYBOOKS / "module_utils" / "entry.py").read_text(encoding="utf-8")
        program = f"{json.dumps(entry)}\n{json.dumps(payload)}\n".encode()
        answer = self._converse(self._ssh(task_vars), program)
        if "failure" in answer:
            result.update(failed=True, msg=answer["failure"]["reason"])
            result["ironlease"] = {"failure": answer["failure"], **answer.get("result", {})}
        else:
            result.update(changed=True, ironlease=answer["result"])
        return result

    @staticmethod
    def _ssh(task_vars: dict[str, Any]) -> list[str]:
        """The provisioner passes a complete `ssh_config`; by hand, Ansible's variables serve."""
        if "ssh_config" in task_vars:
            return ["ssh", "-F", str(task_vars["ssh_config"]), "server", REMOTE]
        host = str(task_vars.get("ansible_host", task_vars["inventory_hostname"]))
        port = str(task_vars.get("ansible_port", 22))
        user = str(task_vars.get("ansible_user", "root"))
        return ["ssh", "-o", "BatchMode=yes", "-p", port, "-l", user, "--", host, REMOTE]

    @staticmethod
    def _converse(command: list[str], program: bytes) -> dict[str, Any]:
        """Send the program, show progress as it comes, return the final answer.

        Standard input stays open until the end: the server stops the module when it closes (see
        `module_utils/entry.py`).
        """
        answer: dict[str, Any] | None = None
        noise: deque[str] = deque(maxlen=20)
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as ssh:
            assert ssh.stdin and ssh.stdout
            try:
                ssh.stdin.write(program)
                ssh.stdin.flush()
            except BrokenPipeError:
                pass  # ssh writes to its output why it ended
            for line in ssh.stdout:
                text = line.decode(errors="replace").rstrip()
                message = _message(text)
                if message is None:
                    noise.append(text)
                elif "progress" in message:
                    display.display(str(message["progress"]))
                else:
                    answer = message
        if answer is not None:
            return answer
        said = "\n".join(noise).strip()
        if ssh.returncode == SSH_OWN_FAILURE:
            raise AnsibleConnectionFailure(said or "the SSH connection was lost")
        raise AnsibleActionFail(f"the module ended ({ssh.returncode}) without an answer: {said}")


def _await_connection(task_vars: dict[str, Any]) -> None:
    """Wait for the shared SSH connection, which the provisioner opens while Ansible starts."""
    if "connected_file" not in task_vars:
        return
    connected = Path(str(task_vars["connected_file"]))
    deadline = time.monotonic() + CONNECT_PATIENCE_S
    while not connected.exists() and time.monotonic() < deadline:
        time.sleep(0.01)


def _message(line: str) -> dict[str, Any] | None:
    """Parse a line of ours (a JSON object marked as such); None for anything else."""
    if not line.startswith('{"ironlease":'):
        return None
    message: dict[str, Any] = json.loads(line)["ironlease"]
    return message
