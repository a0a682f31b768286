"""Finds what somebody means by a name or by the first characters of an identifier."""

from collections.abc import Callable, Sequence

from provisioner.rackctl.client import Api, JsonObject, path
from provisioner.rackctl.errors import Failed

_MOST = 50
"""Candidates that are looked at; with more than that, the name says too little anyway."""
_SHOWN = 8


def resolve(
    api: Api,
    collection: str,
    given: str,
    *,
    what: str,
    label: Callable[[JsonObject], str],
    see: str,
    is_current: Callable[[JsonObject], bool] = lambda found: True,
) -> JsonObject:
    """Return the one item of a collection that `given` names or begins the identifier of.

    If several have the name, the only one that is current is meant. Raises Failed if there is none
    (`see` says where to look), or with the candidates if there are several.
    """
    found = api.items(path(collection), {"match": given}, at_most=_MOST)
    return only(found, given, what=what, label=label, see=see, is_current=is_current)


def only(
    found: Sequence[JsonObject],
    given: str,
    *,
    what: str,
    label: Callable[[JsonObject], str],
    see: str,
    is_current: Callable[[JsonObject], bool] = lambda found: True,
) -> JsonObject:
    """Return the one that was found. Raises Failed as :func:`resolve` does."""
    current = [item for item in found if is_current(item)]
    if len(found) == 1:
        return found[0]
    if len(current) == 1:
        return current[0]
    if not found:
        raise Failed(
            f"there is no {what} {given!r}",
            next_action=see,
        )
    more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    raise Failed(
        f"{given!r} means several: {len(found)} {what}s",
        details=[f"{item['id']}  {label(item)}" for item in found[:_SHOWN]] + more,
        next_action="give more of the identifier",
    )


def matches(item: JsonObject, given: str, *names: str) -> bool:
    """Whether `given` begins the item's identifier or is one of its names."""
    return str(item["id"]).lower().startswith(given.lower()) or given in names
