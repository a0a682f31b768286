"""What may be written down: one rule for every text and number that comes from outside.

PostgreSQL keeps no NUL, UTF-8 no half of a surrogate pair, JSON no NaN, and a column no number
beyond its size. SQLite takes some of these. So that both databases behave alike, whatever enters is
held against this rule: at the edges, which name the place, and again by the store
(`store.columns.check_parameters`).
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from provisioner.domain.refusals import Fault

LONGEST_TEXT = 1 << 20
"""Characters of one text. What is stored is far shorter."""
DEEPEST = 32
"""Lists and objects within each other."""
LARGEST = (1 << 63) - 1
"""The largest whole number, in JSON as in a column of 64 bits."""

_BAD_CHARACTER = re.compile("[\0\ud800-\udfff]")
_CUT = " …"


class Unstorable(ValueError):
    """A value that no table may hold; `fault` says where in it, and why."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(f"{fault.pointer}: {fault.reason}" if fault.pointer else fault.reason)
        self.fault = fault


def check(value: Any, at: str = "") -> None:
    """Raises Unstorable for the first text or number in a value, however deep, that is not fit.

    `at` is the JSON pointer of the value itself. Values of other kinds are not looked at.
    """
    _check(value, at, 0)


def _check(value: Any, at: str, depth: int) -> None:
    if isinstance(value, str):
        _check_text(value, at)
    elif isinstance(value, bool) or value is None:
        return
    elif isinstance(value, int):
        if not -LARGEST <= value <= LARGEST:
            raise _unstorable(at, "the number is too large")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise _unstorable(at, "not a finite number")
    elif isinstance(value, Mapping | list | tuple):
        if depth == DEEPEST:
            raise _unstorable(at, f"nested more than {DEEPEST} deep")
        _check_parts(value, at, depth + 1)


def _check_parts(value: Any, at: str, depth: int) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if isinstance(key, str):
                _check_text(key, at)
            _check(item, f"{at}/{key}", depth)
    else:
        for position, item in enumerate(value):
            _check(item, f"{at}/{position}", depth)


def _check_text(text: str, at: str) -> None:
    if len(text) > LONGEST_TEXT:
        raise _unstorable(at, f"longer than {LONGEST_TEXT} characters")
    found = _BAD_CHARACTER.search(text)
    if found is None:
        return
    if found[0] == "\0":
        raise _unstorable(at, "NUL characters are not allowed")
    raise _unstorable(at, "half of a surrogate pair is not a character")


def _unstorable(at: str, reason: str) -> Unstorable:
    return Unstorable(Fault(clean(at, 200), reason))


def clean(text: str, most: int = 4000) -> str:
    """The text with a sign in the place of each character that cannot be kept, cut to `most`.

    For words of machines that people read: a log's line with an odd byte is better than none.
    """
    if len(text) > most:
        text = text[: most - len(_CUT)] + _CUT
    return _BAD_CHARACTER.sub("\ufffd", text)
