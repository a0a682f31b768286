"""JSON in which no name is given twice: parsers disagree on which of the two counts (RFC 8259)."""

import json
from typing import Any

from provisioner.service.http.problems import HttpError


class _GivenTwice(Exception):
    pass


def require_unambiguous(body: bytes) -> None:
    """Raises :class:`HttpError` (400). Whatever else is wrong is left to who reads the body."""
    try:
        json.loads(body, object_pairs_hook=_check)
    except _GivenTwice as error:
        raise HttpError(
            400,
            "malformed_json",
            f"the name {str(error)[:100]!r} is given twice in one object",
            next_action="send each name once",
        ) from error
    except (ValueError, RecursionError):
        return


def _check(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        names = [name for name, _ in pairs]
        raise _GivenTwice(next(name for name in names if names.count(name) > 1))
