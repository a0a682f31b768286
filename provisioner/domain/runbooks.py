"""What an operator does about each kind of incident. The site serves it at `/docs/runbook`."""

from typing import NamedTuple

from provisioner.domain.incidents import IncidentKind


class Runbook(NamedTuple):
    title: str
    means: str
    steps: tuple[str, ...]
    """What to do, in order; commands are in backquotes."""
    closes: str
    """When the incident closes."""


RUNBOOKS: dict[IncidentKind, Runbook] = {
    IncidentKind.STEP: Runbook(
        "A step keeps failing",
        "A step of the server's operation has failed several times and is still retried.",
        (
            "Read the reason and the log of the step: `rackctl server show NAME`.",
            "Do what the next action says; docs/operations.md lists reasons under Runbooks.",
            "If the operation is parked, go on at once: `rackctl server retry NAME`.",
        ),
        "The step succeeds, or the server leaves its state.",
    ),
    IncidentKind.STUCK: Runbook(
        "The server is stuck",
        "The server has been in its state for longer than the state may take.",
        (
            "See which step runs and since when: `rackctl operation show NAME`.",
            "Check the serial console and the BMC: `rackctl server power NAME`.",
            "If nothing moves, take the server out: `rackctl server quarantine NAME`.",
        ),
        "The server leaves the state.",
    ),
    IncidentKind.ACCESS: Runbook(
        "A barrier to the former tenant failed",
        "After a lease one of several ways to close the tenant's access did not work. The others "
        "still hold.",
        (
            "Read which one failed: `rackctl server show NAME`.",
            "Repair it: the switch does not obey, or the BMC keeps a user.",
            "Do not put the server back into the pool by hand before that.",
        ),
        "The barrier works again, or the server leaves the state.",
    ),
    IncidentKind.FAULT: Runbook(
        "The server is out of service",
        "A fault of the hardware was found, and the server is in quarantine.",
        (
            "Read the evidence: `rackctl server show NAME` and `rackctl server health NAME`.",
            "Repair or replace the part that it names.",
            "Put the server back: `rackctl server repaired NAME`. It is inspected, wiped and "
            "validated before it is offered.",
        ),
        "The server leaves quarantine.",
    ),
    IncidentKind.HEALTH: Runbook(
        "A leased server is faulty",
        "Its customer is notified and not billed while the server is unusable.",
        (
            "See what is wrong: `rackctl server health NAME`.",
            "The customer may swap the server once. Swap it for them if they ask: "
            "`rackctl reservation swap RESERVATION --reason faulty`. That needs a free server of "
            "the class.",
            "When the lease is over the server goes to quarantine by itself.",
        ),
        "The fault is gone, or the lease ends.",
    ),
    IncidentKind.SILENT: Runbook(
        "The agent of a leased server is silent",
        "It has not reported for some time. The tenant may have stopped it, or the system is down.",
        (
            "Check whether the server is on: `rackctl server power NAME`.",
            "Check the serial console and the network port.",
            "Ask the customer. The lease still ends on time: the power is cut out of band.",
        ),
        "The agent reports again, or the lease ends.",
    ),
    IncidentKind.DELAYED: Runbook(
        "A reservation waits for a server",
        "Its server failed before it was handed over, and no other of the class is free.",
        (
            "Find servers to bring back: `rackctl server list --class CLASS`.",
            "Repair one: `rackctl server repaired NAME`.",
            "If none can be had, tell the customer and end the reservation: "
            "`rackctl reservation release RESERVATION`.",
        ),
        "The reservation gets a server, or ends.",
    ),
    IncidentKind.REPORT: Runbook(
        "An agent's report cannot be judged",
        "The server's health is unknown until its reports can be judged again.",
        (
            "Find the traceback in the provisioner's log.",
            "Update the agent or the provisioner if their versions differ.",
            "Otherwise report a bug, with the report: `rackctl server show NAME -o json`.",
        ),
        "A report can be judged.",
    ),
    IncidentKind.DOUBT: Runbook(
        "A tenant's report is doubted",
        "Only the tenant's own system reported a fault, our ramdisk cannot verify it, and other "
        "servers of the account were quarantined for such reports lately. The server is wiped, "
        "validated and offered again.",
        (
            "Read what was reported, and by whom: `rackctl incident list`.",
            "Compare it with the account's other servers: they may share a cause, or the tenant "
            "may lie.",
            "If you believe it, take the server out: `rackctl server quarantine NAME --reason "
            "faulty`.",
        ),
        "Another lease ends without the fault, or the server is quarantined or retired.",
    ),
    IncidentKind.CLOCK: Runbook(
        "A clock is wrong",
        "The clock of a provisioner's host jumped, or differs from the database's. No lease ends "
        "and no disk is erased by a jump: time goes on as it passes.",
        (
            "See which host it is: `rackctl incident list`.",
            "Check the time there and its source: `timedatectl`, `chronyc tracking`.",
            "If the clock is wrong, correct it.",
            "If it is right, because it was wrong before or the host was off for long, run on "
            "that host: `ironlease accept-clock`. Leases that are over by that time end at once, "
            "and their disks are erased.",
        ),
        "The clocks agree again.",
    ),
    IncidentKind.BREAKER: Runbook(
        "Many servers turned faulty at once",
        "A common cause is assumed, so no server is quarantined for its health meanwhile.",
        (
            "See what they have in common: `rackctl gpu list --bad`. It may be a rack, a switch, a "
            "class, a driver, or one rule that does not fit the hardware.",
            "Remove the cause. Verdicts recover by themselves within ten minutes.",
            "Then close the incident: `rackctl incident close INCIDENT`. What is still faulty is "
            "quarantined.",
        ),
        "You close it.",
    ),
}
