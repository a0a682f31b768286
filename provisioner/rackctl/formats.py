"""Values for people: durations, times, sizes, and text that cannot control the terminal."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
_DURATION = re.compile(r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def duration(seconds: float | None) -> str:
    """`3m12s`: the two largest units that are not zero; "" for None."""
    if seconds is None:
        return ""
    left = max(0, int(seconds))
    parts: list[str] = []
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        if count or parts or unit == "s":
            parts.append(f"{count}{unit}")
    first, *rest = parts
    return first + (rest[0] if rest and not rest[0].startswith("0") else "")


def parse_duration(text: str) -> timedelta:
    """A duration such as `2h`, `1d12h` or `90m`.

    Raises ValueError when the text is not one.
    """
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None or not any(match.groups()):
        raise ValueError(f"{text!r} is not a duration; write it as 90m, 2h or 1d12h")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def local_time(text: str | None) -> str:
    """An RFC 3339 time from the API in the local time zone, with its name; "" for None."""
    if not text:
        return ""
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def short_time(text: str | None) -> str:
    """The same as short as it is clear: without the date today, without the year this year."""
    if not text:
        return ""
    at, now = datetime.fromisoformat(text).astimezone(), datetime.now().astimezone()
    if at.date() == now.date():
        return at.strftime("%H:%M:%S")
    return at.strftime("%m-%d %H:%M" if at.year == now.year else "%Y-%m-%d")


def seconds_since(text: str | None) -> float | None:
    """Seconds since an RFC 3339 time from the API, by this machine's clock."""
    if not text:
        return None
    return (datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds()


def size(count: int | None) -> str:
    """Bytes in decimal units, as disks are sold: `3.84 TB`."""
    if count is None:
        return ""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if value < 1000 or unit == "PB":
            break
        value /= 1000
    return f"{value:.3g} {unit}"


def plain(value: Any) -> str:
    """A value as text for a terminal.

    Names and log lines may come from a tenant's machine: control characters and changes of
    writing direction are shown as `?` instead of taking effect.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _CONTROL.sub("?", str(value))
