"""A BMC's event log: which of its new entries count, and for how long.

Every entry is judged once, when it is first read. What counts is kept, as evidence, in the form of
a sensor, so that the sensors' rules judge it: until the server is repaired if it drains the server,
and for a day if it is only worth a look.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from provisioner.domain.health.bmc_states import (
    DRAIN,
    KINDS,
    LASTING,
    MEANINGS,
    UNLOGGED,
    BmcState,
)

WATCHED = timedelta(hours=24)
MOST = 32
"""Entries kept of one server, the worst and newest first."""


def logged(
    entries: Iterable[Mapping[str, Any]],
    before: Iterable[Mapping[str, Any]],
    now: datetime,
    *,
    since: datetime | None = None,
) -> list[dict[str, Any]]:
    """Return what is kept after reading new entries, oldest first.

    `before` is what was kept. With `since`, entries from before it, or from an unknown time, are
    another period's: of the time before a repair, or read already.
    """
    found = {kept["name"]: dict(kept) for kept in before}
    for entry in entries:
        state = entry["state"] and BmcState(*entry["state"])
        at = entry["at"]
        if state not in MEANINGS or state.sensor_type in UNLOGGED:
            continue
        if since is not None and (at is None or at < since):
            continue
        name = _name(entry["source"], state)
        if entry["asserted"]:
            found[name] = _evidence(name, state, at, found.get(name), now)
        elif state.sensor_type in LASTING:
            found.pop(name, None)
    recent = [each for each in found.values() if _counts(each, now)]
    recent.sort(key=lambda each: (each["severity"], each["read_at"]), reverse=True)
    return recent[:MOST]


def _name(source: str, state: BmcState) -> str:
    part = source or KINDS[state.sensor_type]
    return f"{part}, {MEANINGS[state].text} (event log)"


def _evidence(
    name: str,
    state: BmcState,
    at: datetime | None,
    last: Mapping[str, Any] | None,
    now: datetime,
) -> dict[str, Any]:
    meaning = MEANINGS[state]
    times = (last["times"] if last else 0) + 1
    when = f"{at:%Y-%m-%d %H:%M} UTC" if at else "at an unknown time"
    often = "" if times == 1 else f", {times} times"
    return {
        "name": name,
        "severity": meaning.severity,
        "times": times,
        "read_at": now.isoformat(),
        "summary": f"{when}{often}; {meaning.advice}",
        f"{KINDS[state.sensor_type]}_severity": meaning.severity,
    }


def _counts(kept: Mapping[str, Any], now: datetime) -> bool:
    if kept["severity"] >= DRAIN:
        return True
    return now - datetime.fromisoformat(kept["read_at"]) < WATCHED
