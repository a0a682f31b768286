"""`python3 agent.pyz [CONFIG]`: report and enforce until stopped."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from agent import hooks, host, metadata, metrics
from agent.access import Access, NoAccess, SystemAccess
from agent.enforcer import Enforcer
from agent.grants import Verifier
from agent.lease import Held, Lease
from agent.listener import Listener
from agent.notices import Notices, wall
from agent.post import Connection, post
from agent.protocol import RAMDISK, AgentConfig, ProtocolError
from agent.reporter import Reporter
from agent.watch import Watch

CONFIG = Path("/etc/ironlease/agent.json")
STATE = Path("/var/lib/ironlease/lease.json")


def main() -> int:
    """Run for ever; return 1 if the configuration cannot be read."""
    logging.basicConfig(format="ironlease-agent: %(message)s", level=logging.INFO)
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else CONFIG
    try:
        config = read_config(file)
    except (OSError, ProtocolError) as error:
        logging.getLogger("agent").error("%s: %s", file, error)
        return 1
    in_ramdisk = config.context == RAMDISK
    boot_id = host.boot_id()
    verified = None if in_ramdisk else Verifier(config).verified
    lease = Lease(STATE, boot_id, host.boottime, verified, config.grant)
    access: Access = NoAccess() if in_ramdisk else SystemAccess(config.url)
    report_due, end_moved = threading.Event(), threading.Event()
    lease.listen(end_moved.set)
    enforcer = Enforcer(lease, access, report_due.set)

    # An agent without its enforcer would only look alive: exit, and let systemd restart it.
    threading.excepthook = _die
    # A report may hang until its timeout; the end of the lease must not wait for it.
    threading.Thread(
        target=lambda: _repeat(enforcer.tick, end_moved), name="enforcer", daemon=True
    ).start()
    watch = Watch(report_due.set)
    _beside("health", watch.run)
    if not in_ramdisk:
        _beside("metrics", lambda: metrics.serve(watch.health, host.hostname))
        _serve_tenant(lease, lambda: read_config(file))
    reporter = Reporter(
        lambda: read_config(file),
        lease,
        lambda: enforcer.locked,
        Connection().post,
        boot_id=boot_id,
        now=host.boottime,
        hostname=host.hostname,
        health=watch.health,
    )
    return _repeat(reporter.report, report_due)


def _serve_tenant(lease: Lease, read: Callable[[], AgentConfig]) -> None:
    """Start what the tenant gets besides enforcement: quick extensions and notices."""
    listener = Listener(read, lease, Connection().get, host.boottime)
    _beside("listener", lambda: _repeat(listener.listen, threading.Event()))

    def run_hooks(held: Held) -> None:
        _beside("hooks", lambda: hooks.run_all(lease, held, host.boottime))

    notices, end_moved = Notices(lease, run_hooks, wall=wall), threading.Event()
    lease.listen(end_moved.set)
    _beside("notices", lambda: _repeat(notices.tick, end_moved))

    def release() -> None:
        config = read()
        post(f"{config.url}/agents/release", "{}", token=config.token)

    _beside("metadata", lambda: metadata.run(lease, release, host.boottime))


def _repeat(work: Callable[[], float], sooner: threading.Event) -> NoReturn:
    """Repeat `work` for ever, pausing for the seconds it returns or until `sooner` is set."""
    while True:
        sooner.wait(work())
        sooner.clear()


def _beside(name: str, work: Callable[[], None]) -> None:
    """Run `work` in a thread; if it fails, reporting and enforcement go on."""

    def guarded() -> None:
        try:
            work()
        except Exception:
            logging.getLogger("agent").exception("%s failed", name)

    threading.Thread(target=guarded, name=name, daemon=True).start()


def _die(failure: threading.ExceptHookArgs) -> None:
    logging.getLogger("agent").critical("enforcer failed", exc_info=failure.exc_value)
    os._exit(1)


def read_config(file: Path) -> AgentConfig:
    """Read the configuration. Raises `OSError` and `ProtocolError`."""
    return AgentConfig.from_json(file.read_bytes())


if __name__ == "__main__":
    raise SystemExit(main())
