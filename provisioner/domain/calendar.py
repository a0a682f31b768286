"""How many servers of a class are promised at once, and whether one more fits."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Period:
    """A half-open time span: one that ends when another starts does not overlap it."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise ValueError("a period must end after it starts")

    def overlaps(self, other: "Period") -> bool:
        return self.start < other.end and other.start < self.end


def peak(bookings: Iterable[Period], within: Period) -> int:
    """Return the largest number of bookings at any instant of `within`."""
    overlapping = [booking for booking in bookings if booking.overlaps(within)]
    # The count only ever rises at a start, so looking at the starts is enough.
    instants = {max(booking.start, within.start) for booking in overlapping}
    return max(
        (sum(b.start <= instant < b.end for b in overlapping) for instant in instants), default=0
    )


def fits(bookings: Iterable[Period], wanted: Period, capacity: int) -> bool:
    """Return whether one more booking for `wanted` keeps every instant within `capacity`."""
    return peak(bookings, wanted) < capacity
