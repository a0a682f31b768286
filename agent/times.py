"""Times and durations in words; times are the provisioner's, in Unix seconds."""

from __future__ import annotations

from datetime import datetime, timezone

_SIZES = ((3600.0, "hour"), (60.0, "minute"), (1.0, "second"))


def iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def in_words(moment: float) -> str:
    return datetime.fromtimestamp(moment, timezone.utc).strftime("%A %d %B %Y at %H:%M:%S UTC")


def span(seconds: float) -> str:
    """Format a duration, as exact as it needs to be with that much time left."""
    size, name = next(
        (size_name for size_name in _SIZES if seconds >= 1.5 * size_name[0]), _SIZES[-1]
    )
    count = round(seconds / size)
    return f"{count} {name}{'' if count == 1 else 's'}"
