"""Whether a server may serve the next lease, by its verdict; when it leaves capacity is the
lifecycle's to say.
"""

from provisioner.domain.health.levels import HealthAction, HealthLevel
from provisioner.domain.health.verdict import Finding, Verdict

BY_A_PERSON = (HealthAction.DRAIN_AT_LEASE_END, HealthAction.QUARANTINE, HealthAction.RMA)
"""No boot repairs these, so they count whatever boot they were found in."""

_NEXT_ACTION = {
    HealthAction.RESET_AT_LEASE_END: "power cycle it: rackctl server power {server} cycle",
    HealthAction.REBOOT: "power cycle it: rackctl server power {server} cycle",
    HealthAction.RMA: "replace the part (see rackctl server health {server})",
}


def unfit(verdict: Verdict, boot_id: str | None) -> Finding | None:
    """The finding that keeps a server from the next lease, or None.

    `boot_id` is the boot that its agent now reports from: what a boot repairs is judged anew in
    it, and is no reason until it was found there.
    """
    for finding in verdict.findings:
        if finding.action in BY_A_PERSON:
            return finding
        if finding.level is HealthLevel.FAULTY and verdict.boot_id == boot_id:
            return finding
    return None


def next_action(finding: Finding, server: str) -> str:
    """What a person does about it, in words."""
    first = _NEXT_ACTION.get(
        finding.action, "find the cause (see rackctl server health {server})"
    ).format(server=server)
    return f"{first}; then: rackctl server repaired {server}"
