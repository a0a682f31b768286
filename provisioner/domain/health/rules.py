"""All rules, in the order in which the verdict checks them and the documentation prints them."""

from provisioner.domain.health.gpu import GPU
from provisioner.domain.health.gpu_links import GPU_LINKS
from provisioner.domain.health.gpu_memory import GPU_MEMORY
from provisioner.domain.health.rule import Measure, Rule, Scope
from provisioner.domain.health.sensors import SENSORS
from provisioner.domain.health.server import SERVER

RULES: tuple[Rule, ...] = (*GPU, *GPU_MEMORY, *GPU_LINKS, *SERVER, *SENSORS)

BY_NAME: dict[str, Rule] = {rule.name: rule for rule in RULES}
BY_SCOPE: dict[Scope, tuple[Rule, ...]] = {
    scope: tuple(rule for rule in RULES if rule.scope is scope) for scope in Scope
}
LONGEST_WINDOW = max(rule.window for rule in RULES if rule.measure is Measure.INCREASE)


COUNTERS: dict[Scope, frozenset[str]] = {
    scope: frozenset(r.signal for r in BY_SCOPE[scope] if r.measure is Measure.INCREASE)
    for scope in Scope
}
"""The signals whose history is needed, beyond the newest value."""
