"""Whether a server's verdict lets it serve the next lease.

The lifecycle decides when it leaves capacity.
"""

from provisioner.domain.health.levels import HealthAction, HealthLevel
from provisioner.domain.health.verdict import Finding, Verdict

BY_A_PERSON = (HealthAction.DRAIN_AT_LEASE_END, HealthAction.QUARANTINE, HealthAction.RMA)
"""No reboot repairs these, so they count in whatever boot they were found."""

_NEXT_ACTION = {
    HealthAction.RESET_AT_LEASE_END: "power cycle it: rackctl server power {server} cycle",
    HealthAction.REBOOT: "power cycle it: rackctl server power {server} cycle",
    HealthAction.RMA: "replace the part (see rackctl server health {server})",
}


def unfit(verdict: Verdict, boot_id: str | None) -> Finding | None:
    """Return the finding that keeps a server from the next lease, or None.

    `boot_id` is the boot that its agent reports from now: faults that a reboot repairs are judged
    again in each boot, and count only once found there. What a tenant reported and our ramdisk can
    verify counts only once the ramdisk has found it.
    """
    for finding in verdict.findings:
        if finding.awaits_ramdisk:
            continue
        if finding.action in BY_A_PERSON:
            return finding
        if finding.level is HealthLevel.FAULTY and verdict.boot_id == boot_id:
            return finding
    return None


def unverified(verdict: Verdict) -> Finding | None:
    """Return a finding that our ramdisk has yet to verify before the server is offered, or None."""
    return next((finding for finding in verdict.findings if finding.awaits_ramdisk), None)


def next_action(finding: Finding, server: str) -> str:
    """Describe what a person should do about a finding."""
    first = _NEXT_ACTION.get(
        finding.action, "find the cause (see rackctl server health {server})"
    ).format(server=server)
    return f"{first}; then: rackctl server repaired {server}"
