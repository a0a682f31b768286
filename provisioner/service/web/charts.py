"""Small charts of a lease's GPUs as SVG paths, drawn here so that the page needs no script.
The page also describes each chart in words.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from provisioner.service.views.lease_health import GpuSeriesView, LeaseHealthView, Values

WIDTH, HEIGHT = 300, 60
_GAP = timedelta(minutes=12)
"""Samples come every five minutes; a longer gap breaks the line."""


class Signal(NamedTuple):
    name: str
    title: str
    unit: str
    least: float
    """The smallest span of the scale, so that noise stays small."""
    from_zero: bool = True


SIGNALS = (
    Signal("temperature_c", "Temperature", "°C", 20, from_zero=False),
    Signal("power_w", "Power", "W", 100),
    Signal("utilization_percent", "Utilisation", "%", 100),
    Signal("memory_used_mib", "Memory", "GiB", 1),
    Signal("ecc_corrected", "ECC corrected", "", 4),
    Signal("ecc_uncorrected", "ECC uncorrected", "", 4),
)
_MIB_PER_GIB = 1024


class Chart(NamedTuple):
    name: str
    title: str
    path: str
    """An SVG path in a box of WIDTH × HEIGHT; empty when nothing was measured."""
    last: str
    span: str
    """Least and greatest in words; empty when nothing was measured."""
    alarming: bool


class GpuCharts(NamedTuple):
    gpu: GpuSeriesView
    charts: list[Chart]


def gpu_charts(health: LeaseHealthView, end: datetime) -> list[GpuCharts]:
    """Charts up to `end`. All GPUs share the same scales, so that an outlier stands out."""
    scales = {signal: _scale(signal, health.gpus) for signal in SIGNALS}
    return [
        GpuCharts(gpu, [_chart(signal, gpu, health.at, end, scales[signal]) for signal in SIGNALS])
        for gpu in health.gpus
    ]


def _values(signal: Signal, gpu: GpuSeriesView) -> Values:
    values: Values = getattr(gpu, signal.name)
    if signal.unit != "GiB":
        return values
    return [None if value is None else value / _MIB_PER_GIB for value in values]


def _scale(signal: Signal, gpus: Sequence[GpuSeriesView]) -> tuple[float, float]:
    known = [value for gpu in gpus for value in _values(signal, gpu) if value is not None]
    if signal.unit == "GiB":
        known += [gpu.memory_total_mib / _MIB_PER_GIB for gpu in gpus if gpu.memory_total_mib]
    low = 0.0 if signal.from_zero else min(known, default=0.0)
    return low, max([*known, low + signal.least])


def _chart(
    signal: Signal,
    gpu: GpuSeriesView,
    at: Sequence[datetime],
    end: datetime,
    scale: tuple[float, float],
) -> Chart:
    values = _values(signal, gpu)
    known = [value for value in values if value is not None]
    total = gpu.memory_total_mib if signal.unit == "GiB" else None
    last = span = "–"
    if known:
        whole = f" of {_number(total / _MIB_PER_GIB)}" if total else ""
        # What was last measured of a lost GPU is not what it has now.
        last = "–" if gpu.lost else f"{_number(known[-1])} {signal.unit}".rstrip()
        span = f"{_number(min(known))} to {_number(max(known))}{whole} {signal.unit}".rstrip()
    return Chart(
        signal.name,
        signal.title,
        _path(at, values, end, scale),
        last,
        span if known else "",
        signal.name == "ecc_uncorrected" and any(known),
    )


def _path(at: Sequence[datetime], values: Values, end: datetime, scale: tuple[float, float]) -> str:
    """One line for each stretch without a gap; a lone value is a dot."""
    if not at:
        return ""
    length = max((end - at[0]).total_seconds(), 1.0)
    low, high = scale
    lines = []
    for stretch in _stretches(at, values):
        points = [
            f"{(when - at[0]).total_seconds() / length * WIDTH:.0f} "
            f"{HEIGHT - (value - low) / (high - low) * HEIGHT:.0f}"
            for when, value in stretch
        ]
        lines.append(f"M{' '.join(points)}" + ("h0" if len(points) == 1 else ""))
    return "".join(lines)


def _stretches(at: Sequence[datetime], values: Values) -> Iterator[list[tuple[datetime, float]]]:
    stretch: list[tuple[datetime, float]] = []
    for when, value in zip(at, values, strict=True):
        if stretch and (value is None or when - stretch[-1][0] > _GAP):
            yield stretch
            stretch = []
        if value is not None:
            stretch.append((when, value))
    if stretch:
        yield stretch


def _number(value: float) -> str:
    """With at most one decimal, and none if it is zero."""
    return f"{value:.1f}".removesuffix(".0") if value < 100 else f"{value:.0f}"
