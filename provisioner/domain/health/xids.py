"""NVIDIA's XID errors and what each asks for.

They follow NVIDIA's catalogue for Ampere and newer GPUs
(https://docs.nvidia.com/deploy/xid-errors/). The verdict counts them across boots.
"""

import re
from dataclasses import dataclass, replace
from enum import StrEnum

from provisioner.domain.health.levels import Outcome

SOURCE = "NVIDIA XID catalogue"
RULE_PREFIX = "xid_"
"""Prefix of the names of findings that are XIDs."""
_NVLINK_5 = range(144, 151)
_NVLINK_5_WORDS = re.compile(r"\b([A-Z][\w/]*) (Fatal|Nonfatal)\b.*?\bLink (\d+)")


class Response(StrEnum):
    """The catalogue's immediate actions, and our responses."""

    RESTART_APPLICATION = "restart application"
    RESET_GPU = "reset GPU"
    RESTART_MACHINE = "restart machine"
    CHECK_MECHANICALS = "check mechanicals"
    WORKFLOW = "workflow"
    INVESTIGATE = "investigate"
    IGNORE = "ignore"
    UNKNOWN = "not in the catalogue"


ANSWERS: dict[Response, Outcome] = {
    # Caused by the job, or contained to it: never held against the server.
    Response.RESTART_APPLICATION: Outcome.FINE,
    Response.RESET_GPU: Outcome.RESET_FIRST,
    Response.RESTART_MACHINE: Outcome.REBOOT,
    Response.CHECK_MECHANICALS: Outcome.QUARANTINE,
    Response.WORKFLOW: Outcome.DRAIN,
    Response.INVESTIGATE: Outcome.NOTE,
    Response.IGNORE: Outcome.FINE,
    Response.UNKNOWN: Outcome.NOTE,
}


@dataclass(frozen=True, slots=True)
class Xid:
    number: int
    meaning: str
    response: Response
    nonfatal: bool = False
    """An NVLink 5 error that the link survived, unlike the fatal error of the same number."""

    @property
    def rule(self) -> str:
        return f"{RULE_PREFIX}{self.number}{'_nonfatal' if self.nonfatal else ''}"

    @property
    def outcome(self) -> Outcome:
        return ANSWERS[self.response]


def xid(number: int, text: str = "") -> Xid:
    """Return the catalogue's entry; unknown numbers are worth a look.

    `text` is the kernel's log message. For NVLink 5 the catalogue's workflow depends on it: a fatal
    error asks for a reset of the GPU, a nonfatal one for nothing or a restart of the job it hit.
    Anything more is announced as XID 154, and that state is judged. Without the text, the entry is
    the one for the workflow as a whole.
    """
    entry = XIDS.get(number) or Xid(number, "unknown error", Response.UNKNOWN)
    words = _NVLINK_5_WORDS.search(text) if number in _NVLINK_5 else None
    if words is None:
        return entry
    unit, severity, link = words.groups()
    nonfatal = severity == "Nonfatal"
    return replace(
        entry,
        meaning=f"{entry.meaning}, {severity.lower()}, in {unit} of link {int(link)}",
        response=Response.RESTART_APPLICATION if nonfatal else Response.RESET_GPU,
        nonfatal=nonfatal,
    )


def _entries(response: Response, meanings: dict[int, str]) -> dict[int, Xid]:
    return {number: Xid(number, meaning, response) for number, meaning in meanings.items()}


XIDS: dict[int, Xid] = dict(
    sorted(
        (
            _entries(
                Response.RESTART_APPLICATION,
                {
                    8: "a channel stopped making progress",
                    11: "invalid or corrupted push buffer",
                    13: "graphics engine exception",
                    25: "invalid or illegal push buffer",
                    31: "MMU fault: the job touched memory that is not its own",
                    32: "invalid or corrupted push buffer stream",
                    39: "copy engine exception",
                    40: "copy engine exception",
                    41: "copy engine exception",
                    68: "video decoder exception",
                    69: "graphics engine class error",
                    80: "corrupted data sent to the GPU",
                    94: "contained memory error: only the job that met it is hit",
                }
                | dict.fromkeys((82, *range(99, 106)), "JPEG decoder exception")
                | dict.fromkeys((83, 84, 88, 89, 96, 97, 98), "video decoder exception")
                | dict.fromkeys((85, *range(126, 136)), "copy engine exception")
                | dict.fromkeys((86, 139), "optical flow exception"),
            )
            | _entries(
                Response.RESET_GPU,
                {
                    46: "the GPU stopped processing",
                    62: "internal micro-controller halted",
                    64: "a row could not be recorded for remapping",
                    95: "uncontained memory error: every job on the GPU is hit",
                    109: "context switch timed out",
                    110: "security fault",
                    119: "the GPU system processor did not answer in time",
                    120: "the GPU system processor failed",
                    136: "NVLink training failed",
                    140: "unrecoverable memory error",
                    143: "the GPU did not initialise",
                    155: "NVLink software-defined error",
                    156: "resource retirement event",
                    158: "GPU fatal timeout",
                },
            )
            | _entries(
                Response.RESTART_MACHINE,
                {79: "the GPU has fallen off the bus", 151: "a key was not rotated in time"},
            )
            | _entries(Response.CHECK_MECHANICALS, {54: "auxiliary power is not connected"})
            | _entries(
                Response.WORKFLOW,
                {
                    48: "uncorrectable memory error",
                    74: "NVLink error",
                    144: "NVLink 5: SAW error",
                    145: "NVLink 5: RLW error",
                    146: "NVLink 5: TLW error",
                    147: "NVLink 5: TREX error",
                    148: "NVLink 5: NVLPW control error",
                    149: "NVLink 5: NETIR error",
                    150: "NVLink 5: MSE error",
                },
            )
            | _entries(
                Response.INVESTIGATE,
                {
                    92: "many corrected memory errors",
                    142: "video encoder exception",
                    157: "resource retirement failed",
                    159: "error on the coherent link to the CPU",
                },
            )
            | _entries(
                Response.IGNORE,
                {
                    38: "firmware error of the driver",
                    43: "the job was stopped after a fault of its own",
                    44: "graphics fault while switching context",
                    # Follows whatever stopped the job, even Ctrl-C: the other XID is judged.
                    45: "the job's channels were cleaned up",
                    63: "a row is recorded for remapping: the remapper's state is judged",
                    66: "illegal access by the driver",
                    93: "the InfoROM is not rewritten so soon",
                    121: "error on the chip-to-chip link",
                    106: "test message of the management controller",
                    107: "test message of the management controller",
                    108: "an NVLink peer could not translate an address: its own error is judged",
                    137: "NVLink privilege error: the peer's own error is judged",
                    141: "fast path error",
                    # The state that it announces is read and judged (field 230).
                    154: "the recommended recovery action changed",
                    160: "a memory channel was retired",
                    161: "a memory channel could not be retired",
                    # These say where XID 48 happened.
                    171: "the uncorrectable error was in DRAM",
                    172: "the uncorrectable error was in SRAM",
                },
            )
        ).items()
    )
)
