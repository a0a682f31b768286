"""How one rule is held against one part's history."""

import operator
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import zip_longest

from provisioner.domain.health.history import Values
from provisioner.domain.health.rule import Compare, Limit, Measure, Rule

Measured = float | str
Past = Sequence[tuple[datetime, Values]]
"""A part's values in the reports, the newest first."""

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


def measured(rule: Rule, past: Past) -> Measured | None:
    """The value that breaks the rule now; None when it is kept, or when nothing is known."""
    values = past[0][1]
    if values.get(rule.signal) is None or not _concerns(rule, values):
        return None
    if rule.measure is Measure.INCREASE:
        value: Measured | None = _increase(rule, past)
    else:
        value = _number(values[rule.signal])
    limit = _limit(rule.limit, rule.compare, values)
    if value is None or limit is None or not _holds(rule.compare, value, limit):
        return None
    return value


def _concerns(rule: Rule, values: Values) -> bool:
    if rule.only is None:
        return True
    signal, compare, limit = rule.only
    value, against = _number(values.get(signal)), _limit(limit, compare, values)
    return value is not None and against is not None and _holds(compare, value, against)


def _number(value: object) -> Measured | None:
    """Lists count by their length, yes is 1; words stay."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return len(value)
    return float(value) if isinstance(value, int | float) else None


def _limit(limit: Limit, compare: Compare, values: Values) -> Measured | None:
    if isinstance(limit, str) and compare not in _EQUAL:
        return _number(values.get(limit))
    return limit


def _holds(compare: Compare, value: Measured, limit: Measured) -> bool:
    if compare in _EQUAL:
        return _EQUAL[compare](value, limit)
    if isinstance(value, str) or isinstance(limit, str):
        return False
    return _ORDERED[compare](value, limit)


def _increase(rule: Rule, past: Past) -> float:
    """The growth of the counter in the window, from the last report before it; scaled down when it
    may have grown before the window. A counter that fell began anew."""
    newest, values = past[0]
    after, since, grown = values[rule.signal], newest, [0.0]
    if past[-1][1].get(rule.signal) == after:
        return 0.0  # as nearly always
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
