"""The system event log (SEL), decoded by pyghmi: all of it for people, the new part for the judge.

Blocking, as the decoders of `ipmi_readings.py`.
"""

import re
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pyghmi.constants import Health
from pyghmi.exceptions import IpmiException
from pyghmi.ipmi import events

from provisioner.domain.health.bmc_states import BmcState
from provisioner.drivers.bmc.base import LogEntry, LogPart, LogPosition
from provisioner.drivers.bmc.ipmi_readings import UNDECODABLE, BlockingCommand, health_of

# IPMI 2.0 section 31.5, Get SEL Entry, and table 5-2
_STORAGE, _GET_ENTRY = 0x0A, 0x43
_LAST = 0xFFFF
_NO_SUCH_RECORD = 0xCB

TAIL = 64
"""Entries read of a log of which nothing was read before: a full one takes a minute."""
MOST_AT_ONCE = 256
"""Entries read in one go; the rest is new the next time."""


def read_event_log(command: BlockingCommand) -> list[LogEntry]:
    return [_log_entry(record) for record in command.get_event_log()]


def read_new_log_entries(command: BlockingCommand, after: LogPosition | None) -> LogPart:
    last = _record(command, _LAST)
    if last is None:
        return LogPart((), None, follows=after is None)
    if last.position == after:
        return LogPart((), after, follows=True)
    known = _record(command, after.record) if after else None
    follows = known is not None and known.position == after
    start = known.next if known and follows else max(0, last.position.record - TAIL)
    # Most BMCs number records without gaps. With one just there, only the last record is read.
    record = _record(command, start) or last
    records = [record]
    while record.next != _LAST and len(records) < MOST_AT_ONCE:
        following = _record(command, record.next)
        if following is None or following.position == record.position:
            break
        records.append(record := following)
    return LogPart(_decoded(command, records), record.position, follows)


class _Record(NamedTuple):
    next: int
    raw: bytes

    @property
    def position(self) -> LogPosition:
        return LogPosition(
            int.from_bytes(self.raw[:2], "little"), int.from_bytes(self.raw[3:7], "little")
        )


def _record(command: BlockingCommand, number: int) -> _Record | None:
    """Return a record, 0 being the first; None if there is none of that number."""
    request = (0, 0, number & 0xFF, number >> 8, 0, 0xFF)  # no reservation; the whole record
    answer = command.raw_command(netfn=_STORAGE, command=_GET_ENTRY, data=request)
    if answer["code"] == _NO_SUCH_RECORD:
        return None
    if "error" in answer:
        raise IpmiException(answer["error"], code=answer["code"])
    data = bytes(answer["data"])
    return _Record(int.from_bytes(data[:2], "little"), data[2:])


def _decoded(command: BlockingCommand, records: list[_Record]) -> list[LogEntry]:
    command.oem_init()
    handler = events.EventHandler(command.init_sdr(), command)
    decoded = []
    for record in records:
        try:
            decoded.append(handler._sel_decode(record.raw))
        except UNDECODABLE:  # the others count all the same
            decoded.append({"oemdata": record.raw})
    events._fix_sel_time(decoded, command)
    return [_log_entry(each) for each in decoded]


def _log_entry(record: dict[str, Any]) -> LogEntry:
    stamp = record.get("timestamp")
    text = record.get("event")
    if text is None:
        text = f"OEM record {bytes(record.get('oemdata') or b'').hex()}"
    elif record.get("deassertion"):
        text = f"{text} (deasserted)"
    if detail := record.get("event_data"):
        text = f"{text}: {detail}"
    return LogEntry(
        # pyghmi corrects for the BMC's clock and writes local time.
        at=datetime.fromisoformat(stamp).astimezone(UTC) if stamp else None,
        source=record.get("component") or record.get("component_type") or "",
        text=text,
        severity=health_of(record.get("severity", Health.Ok)),
        state=_state(record),
        asserted=not record.get("deassertion"),
    )


def _state(record: dict[str, Any]) -> BmcState | None:
    kind, event = record.get("component_type_id"), str(record.get("event_id"))
    if not isinstance(kind, int) or not re.fullmatch(r"[0-9]{1,3}\.[0-9]{1,2}", event):
        return None
    event_type, _, offset = event.partition(".")
    return BmcState(kind, int(event_type), int(offset))
