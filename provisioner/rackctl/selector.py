"""Chooses servers: `rack=a1,state=available`. Commas mean and; a repeated key means or."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from provisioner.rackctl.client import JsonObject
from provisioner.rackctl.errors import UsageFault

STATES = (
    "enrolled",
    "inspecting",
    "sanitising",
    "validating",
    "available",
    "imaging",
    "leased",
    "reclaiming",
    "quarantined",
    "maintenance",
    "retired",
)
HEALTH = ("ok", "watch", "degraded", "faulty", "unknown")
"""`unknown` is a server without a verdict."""

_FIXED: dict[str, tuple[str, ...]] = {"state": STATES, "health": HEALTH}
"""Values known beforehand; those of other keys are what the servers have."""

_VALUE_OF: dict[str, Callable[[JsonObject], str]] = {
    "site": lambda server: str(server["site"]),
    "rack": lambda server: str(server["rack"]),
    "class": lambda server: str(server["class"]),
    "state": lambda server: str(server["state"]),
    "health": lambda server: str(server["health"]["level"] if server["health"] else "unknown"),
}
KEYS = tuple(_VALUE_OF)

Selector = Mapping[str, frozenset[str]]


def parse(texts: Iterable[str]) -> Selector:
    """Read one or more selectors. Raises UsageFault if a key is unknown or has no value."""
    wanted: dict[str, set[str]] = {}
    for term in ",".join(texts).split(","):
        key, _, value = (part.strip() for part in term.partition("="))
        if key not in _VALUE_OF:
            raise UsageFault(
                f"the selector has an unknown key {key!r}",
                next_action=f"known keys: {', '.join(KEYS)}; such as rack=a1,state=available",
            )
        if not value:
            raise UsageFault(
                f"the selector gives no value for {key!r}",
                next_action=f"write {key}=VALUE",
            )
        wanted.setdefault(key, set()).add(value)
    return {key: frozenset(values) for key, values in wanted.items()}


def select(servers: Sequence[JsonObject], selector: Selector) -> list[JsonObject]:
    """Return the servers that match. Raises UsageFault if a value is of no server at all."""
    for key, values in selector.items():
        known = _FIXED.get(key) or sorted({_VALUE_OF[key](server) for server in servers})
        for value in sorted(values):
            if value not in known:
                raise UsageFault(
                    f"the selector has an unknown {key} {value!r}",
                    next_action=f"known: {', '.join(known) or 'none, as there are no servers'}",
                )
    return [
        server
        for server in servers
        if all(_VALUE_OF[key](server) in values for key, values in selector.items())
    ]
