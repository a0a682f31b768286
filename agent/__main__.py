"""`python3 agent.pyz [CONFIG]`: reports and enforces until it is told to stop."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from agent import host, metrics
from agent.access import Access, NoAccess, SystemAccess
from agent.enforcer import Enforcer
from agent.grants import Verifier
from agent.lease import Lease
from agent.post import post
from agent.protocol import RAMDISK, AgentConfig, ProtocolError
from agent.reporter import Reporter
from agent.watch import Watch

CONFIG = Path("/etc/ironlease/agent.json")
STATE = Path("/var/lib/ironlease/lease.json")


def main() -> int:
    """Run for ever; 1 when the configuration cannot be read."""
    logging.basicConfig(format="ironlease-agent: %(message)s", level=logging.INFO)
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else CONFIG
    try:
        config = read_config(file)
    except (OSError, ProtocolError) as error:
        logging.getLogger("agent").error("%s: %s", file, error)
        return 1
    boot_id = host.boot_id()
    verified = None if config.context == RAMDISK else Verifier(config).verified
    lease = Lease(STATE, boot_id, host.boottime, verified, config.grant)
    access: Access = NoAccess() if config.context == RAMDISK else SystemAccess()
    report_due, lease_changed = threading.Event(), threading.Event()
    enforcer = Enforcer(lease, access, report_due.set)

    def enforce() -> None:
        while True:
            lease_changed.wait(enforcer.tick())
            lease_changed.clear()

    # An agent without its enforcer would only look alive: end, and be started again
    threading.excepthook = _die
    # A report may hang for as long as its time-out; the end of the lease may not wait for it
    threading.Thread(target=enforce, name="enforcer", daemon=True).start()
    watch = Watch(report_due.set)
    _beside("health", watch.run)
    if config.context != RAMDISK:
        _beside("metrics", lambda: metrics.serve(watch.health, host.hostname))
    reporter = Reporter(
        lambda: read_config(file),
        lease,
        lambda: enforcer.locked,
        post,
        boot_id=boot_id,
        now=host.boottime,
        hostname=host.hostname,
        health=watch.health,
    )
    while True:
        wait = reporter.report()
        lease_changed.set()
        report_due.wait(wait)
        report_due.clear()


def _beside(name: str, work: Callable[[], None]) -> None:
    """Do it in a thread, without which the lease is reported and enforced all the same."""

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
    """Raises `OSError` and `ProtocolError`."""
    return AgentConfig.from_json(file.read_bytes())


if __name__ == "__main__":
    raise SystemExit(main())
