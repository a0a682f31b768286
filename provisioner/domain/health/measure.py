"""How one rule is checked against one part's history."""

import operator
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import zip_longest

from provisioner.domain.health.history import Values
from provisioner.domain.health.rule import Compare, Limit, Measure, Rule

Measured = float | str
Past = Sequence[tuple[datetime, Values]]
"""A part's values in the reports, newest first."""
_Test = Callable[[Measured, Values], bool]

_EQUAL: dict[Compare, Callable[[Measured, Measured], bool]] = {
    Compare.IS: operator.eq,
    Compare.IS_NOT: operator.ne,
}
_ORDERED: dict[Compare, Callable[[float, float], bool]] = {
    Compare.AT_LEAST: operator.ge,
    Compare.AT_MOST: operator.le,
    Compare.ABOVE: operator.gt,
    Compare.BELOW: operator.lt,
    Compare.HAS_BITS: lambda value, bits: bool(int(value) & int(bits)),
}


def measure(rule: Rule) -> Callable[[Past], Measured | None]:
    """Return a function that gives the value breaking the rule; None if kept or unknown.

    It is prepared once per rule, since a verdict calls it hundreds of times.
    """
    signal, grows = rule.signal, rule.measure is Measure.INCREASE
    breaks = _test(rule.compare, rule.limit)
    only = None if rule.only is None else (rule.only[0], _test(*rule.only[1:]))

    def measured(past: Past) -> Measured | None:
        values = past[0][1]
        if values.get(signal) is None:
            return None
        if only is not None and not _is_true(*only, values):
            return None
        value = _increase(rule, past) if grows else _number(values[signal])
        return value if value is not None and breaks(value, values) else None

    return measured


def _is_true(signal: str, test: _Test, values: Values) -> bool:
    value = _number(values.get(signal))
    return value is not None and test(value, values)


def _number(value: object) -> Measured | None:
    """Convert lists to their length and flags to 0 or 1; text stays."""
    if isinstance(value, (int, float)):
        return float(value)
    if isinstance(value, str):
        return value
    return len(value) if isinstance(value, (list, tuple)) else None


def _test(compare: Compare, limit: Limit) -> _Test:
    """Return a test of values against the limit; text can only be compared for equality."""
    if compare in _EQUAL:
        same = _EQUAL[compare]
        return lambda value, _: same(value, limit)
    ordered = _ORDERED[compare]
    if not isinstance(limit, str):
        return lambda value, _: not isinstance(value, str) and ordered(value, limit)

    def beside_signal(value: Measured, values: Values) -> bool:
        other = _number(values.get(limit))
        if other is None or isinstance(value, str) or isinstance(other, str):
            return False
        return ordered(value, other)

    return beside_signal


def _increase(rule: Rule, past: Past) -> float:
    """Return the counter's growth in the window, from the last report before it.

    The growth is scaled down if part of it may predate the window. A counter that fell has
    restarted.
    """
    newest, values = past[0]
    after, since, grown = values[rule.signal], newest, [0.0]
    if past[-1][1].get(rule.signal) == after:
        return 0.0  # nearly always
    for at, values in past[1:]:
        before = values.get(rule.signal)
        if newest - since >= rule.window or before is None:
            break
        if before != after:
            pairs = zip(_counters(before), _counters(after), strict=False)
            steps = [b - a if b >= a else b for a, b in pairs]
            grown = [sum(pair) for pair in zip_longest(grown, steps, fillvalue=0.0)]
            since = at
        else:
            since = max(at, newest - rule.window)
        after = before
    span = newest - since
    return max(grown) * (min(1.0, rule.window / span) if span else 1.0)


def _counters(value: object) -> list[float]:
    many = value if isinstance(value, list | tuple) else [value]
    return [float(one) for one in many if isinstance(one, int | float)]
