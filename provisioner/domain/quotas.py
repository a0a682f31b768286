"""Quotas: how much of the pool one customer may hold."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Quota:
    servers: int = 16
    """Servers reserved at the same time."""
    duration: timedelta = timedelta(days=90)
    """From the start of a reservation to its end, with all its extensions."""

    def changed(self, servers: int | None, duration_s: int | None) -> "Quota":
        """This quota, with an account's own numbers where it has some."""
        return Quota(
            self.servers if servers is None else servers,
            self.duration if duration_s is None else timedelta(seconds=duration_s),
        )


DEFAULT = Quota()
