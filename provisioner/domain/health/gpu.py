"""Rules for a GPU as a whole: is it alive, what does its driver ask for, heat, power, speed."""

from provisioner.domain.health.levels import HealthAction, Outcome
from provisioner.domain.health.rule import (
    GPUD,
    MINUTE,
    NVML,
    OURS,
    Compare,
    Measure,
    Rule,
    Scope,
)


def _recovery(
    value: int, name: str, outcome: Outcome, summary: str, again: HealthAction | None = None
) -> Rule:
    return Rule(
        f"recovery_{name}",
        Scope.GPU,
        "recovery_action",
        Compare.IS,
        value,
        outcome,
        "{part}: the driver asks for " + summary,
        "NVML field 230, GPU recovery action",
        again=again,
    )


def _throttled(signal: str, outcome: Outcome, why: str) -> Rule:
    return Rule(
        signal.removesuffix("_s"),
        Scope.GPU,
        signal,
        Compare.AT_LEAST,
        60,
        outcome,
        "{part}: slowed down " + why + " for {value} of 600 seconds",
        f"{NVML}, clocks event reasons; sustained as {GPUD} counts it",
        Measure.INCREASE,
        10 * MINUTE,
    )


GPU: tuple[Rule, ...] = (
    Rule(
        "gpu_lost",
        Scope.GPU,
        "lost",
        Compare.IS,
        1,
        Outcome.QUARANTINE,
        "{part} has fallen off the bus",
        f"{NVML}, GPU_IS_LOST",
        again=HealthAction.RMA,
        latched=True,
    ),
    _recovery(1, "reset", Outcome.RESET_FIRST, "a reset", HealthAction.RMA),
    _recovery(2, "reboot", Outcome.REBOOT, "a reboot", HealthAction.RMA),
    _recovery(3, "drain", Outcome.DRAIN, "an end of its peer traffic"),
    _recovery(
        4,
        "drain_and_reset",
        Outcome.RESET,
        "a reset once its jobs are done",
        HealthAction.RMA,
    ),
    _recovery(5, "imex", Outcome.REBOOT, "recovery of its IMEX domain"),
    _recovery(6, "bus_reset", Outcome.REBOOT, "a reset of its bus", HealthAction.RMA),
    _recovery(7, "system", Outcome.REBOOT, "a restart of the system", HealthAction.RMA),
    _throttled("hw_slowdown_s", Outcome.DRAIN, "by the hardware"),
    _throttled("hw_thermal_s", Outcome.DRAIN, "by the hardware for heat"),
    _throttled(
        "power_brake_s",
        Outcome.DRAIN,
        "by the power supply's brake signal",
    ),
    _throttled("sw_thermal_s", Outcome.NOTE, "by the driver for heat"),
    Rule(
        "hot",
        Scope.GPU,
        "temperature_margin_c",
        Compare.AT_MOST,
        0,
        Outcome.DRAIN,
        "{part}: at its temperature limit",
        f"{NVML}, margin temperature",
        Measure.LASTING,
        MINUTE,
    ),
    Rule(
        "warm",
        Scope.GPU,
        "temperature_margin_c",
        Compare.AT_MOST,
        5,
        Outcome.NOTE,
        "{part}: {value} °C below its temperature limit",
        f"{NVML}, margin temperature",
        Measure.LASTING,
        5 * MINUTE,
    ),
    Rule(
        "hot_by_limit",
        Scope.GPU,
        "temperature_c",
        Compare.AT_LEAST,
        "temperature_limit_c",
        Outcome.DRAIN,
        "{part}: {value} °C, its limit is {limit} °C",
        f"{NVML}, temperature threshold",
        Measure.LASTING,
        MINUTE,
    ),
    Rule(
        "memory_hot",
        Scope.GPU,
        "memory_temperature_c",
        Compare.AT_LEAST,
        "memory_limit_c",
        Outcome.DRAIN,
        "{part}: its memory is at {value} °C, the limit is {limit} °C",
        f"{NVML}, temperature threshold",
        Measure.LASTING,
        MINUTE,
    ),
    Rule(
        "power_unreadable",
        Scope.GPU,
        "power_unreadable",
        Compare.IS,
        1,
        Outcome.REBOOT,
        "{part}: its power cannot be read",
        GPUD,
    ),
    Rule(
        "power_limit_lowered",
        Scope.GPU,
        "power_limit_w",
        Compare.BELOW,
        "power_default_w",
        Outcome.RESTORE,
        "{part}: its power limit was lowered to {value} W, {limit} W is usual",
        OURS,
    ),
    Rule(
        "unreadable",
        Scope.GPU,
        "errors",
        Compare.AT_LEAST,
        1,
        Outcome.NOTE,
        "{part}: {value} of its signals cannot be read",
        NVML,
    ),
)
