"""Closes and reopens the machine to the tenant.

Nothing of the tenant's is deleted: sessions are ended, the network is closed, SSH is stopped and
accounts are expired. `agent.enforcer` decides when.
"""

from __future__ import annotations

import logging
import os
import pwd
import signal
import subprocess
from pathlib import Path
from typing import Protocol

from agent import firewall

# Any process below one of these belongs to a session.
_SESSION_ROOTS = ("sshd", "sshd-session", "login")
_NO_LOGIN = ("nologin", "false", "sync")
_COMMAND_TIMEOUT_S = 30
_log = logging.getLogger("agent")


class AccessError(Exception):
    """Closing or opening failed in part; the text lists what. Try again."""


class Access(Protocol):
    """What the enforcer may do to the tenant's access; both methods are safe to repeat."""

    def close(self) -> None:
        """End all sessions and logins. Raises `AccessError` if any may be left."""

    def open(self) -> None:
        """Undo `close`. Raises `AccessError`."""


class NoAccess:
    """For the ramdisk, which has no tenant: the agent only reports."""

    def close(self) -> None:
        pass

    def open(self) -> None:
        pass


class SystemAccess:
    """Access to a system with systemd and OpenSSH."""

    def __init__(self, url: str) -> None:
        """`url` is the provisioner's address; traffic to it stays allowed."""
        self._url = url
        self._network_failed = ""

    def close(self) -> None:
        # Sessions first, the network second, so that SSH clients see the connection close.
        failures = _end_sessions()
        self._close_network()
        # Patterns match loaded units only: stopping a missing unit would be an error.
        failures += _run("systemctl", "stop", "ssh.s*", "sshd.s*")
        failures += _end_sessions()  # sessions opened in the meantime
        for user in _login_users():
            # Denied by PAM's account phase and by sshd itself, however the user logs in.
            failures += _run("usermod", "--expiredate", "1", user)
        failures += _terminate_logind_sessions()
        _raise(failures)

    def open(self) -> None:
        failures = []
        if not self._network_failed:
            failures += _run("nft", "-f", "-", given=firewall.OPEN)
        for user in _login_users():
            failures += _run("usermod", "--expiredate", "", user)
        failures += _run("systemctl", "start", "ssh.service")
        _raise(failures)

    def _close_network(self) -> None:
        """Close the network.

        Without nftables, access is closed all the same, but other services keep answering until
        the provisioner shuts the port.
        """
        try:
            failed = "; ".join(_run("nft", "-f", "-", given=firewall.closed(self._url)))
        except (OSError, ValueError) as error:
            failed = f"{self._url}: {error}"
        if failed and failed != self._network_failed:
            _log.error("the network stays open: %s", failed)
        self._network_failed = failed


def _raise(failures: list[str]) -> None:
    if failures:
        raise AccessError("; ".join(failures))


def _run(*command: str, given: str = "") -> list[str]:
    """Run a command with `given` on stdin; return failures as text.

    Nothing is raised, so that one failure does not prevent the rest from being done.
    """
    try:
        done = subprocess.run(
            command,
            check=False,
            input=given.encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_COMMAND_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return [f"{' '.join(command)}: {error}"]
    if done.returncode:
        return [f"{' '.join(command)}: {done.stderr.decode(errors='replace').strip()}"]
    return []


def _login_users() -> list[str]:
    return [
        user.pw_name
        for user in pwd.getpwall()
        if (user.pw_uid == 0 or user.pw_uid >= 1000)
        and not user.pw_shell.endswith(_NO_LOGIN)
        and user.pw_name != "nobody"
    ]


def _end_sessions() -> list[str]:
    """Kill every process below an sshd or login, and those themselves."""
    return [failure for pid in session_processes(_process_table()) for failure in _kill(pid)]


def _kill(pid: int) -> list[str]:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return []  # exited with its parent
    except OSError as error:
        return [f"kill {pid}: {error}"]
    return []


def session_processes(table: dict[int, tuple[int, str]]) -> list[int]:
    """Return the sessions' process ids in a table of pid → (parent, command), roots included."""
    members = {pid for pid, (_, name) in table.items() if name in _SESSION_ROOTS}
    while True:
        children = {pid for pid, (parent, _) in table.items() if parent in members} - members
        if not children:
            return sorted(members)
        members |= children


def _process_table() -> dict[int, tuple[int, str]]:
    table = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue  # exited in the meantime
        # pid (name) state parent …: the name may hold spaces and brackets, see proc(5).
        name, _, fields = stat.partition("(")[2].rpartition(")")
        table[int(entry.name)] = (int(fields.split()[1]), name)
    return table


def _terminate_logind_sessions() -> list[str]:
    """Terminate logind sessions, which still hold processes detached from their login (screen)."""
    sessions = Path("/run/systemd/sessions")
    names = [entry.name for entry in sessions.iterdir()] if sessions.is_dir() else []
    ids = [name for name in names if not name.endswith(".ref")]
    return _run("loginctl", "terminate-session", *ids) if ids else []
