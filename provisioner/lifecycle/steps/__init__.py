"""One function per step: check, act on the difference, and return the outcome."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from provisioner.domain.lifecycle import Step
from provisioner.lifecycle.job import Job, Outcome
from provisioner.lifecycle.steps.bmc import disable_bmc_users, reach_bmc, rotate_bmc_password
from provisioner.lifecycle.steps.image import (
    await_tenant,
    boot_tenant,
    hand_over,
    open_port,
    personalise,
    write_image,
)
from provisioner.lifecycle.steps.intake import await_verdict, check_hardware, collect_facts
from provisioner.lifecycle.steps.power import reset, shut_down, switch_on
from provisioner.lifecycle.steps.ramdisk import (
    await_ramdisk,
    find_ramdisk,
    open_boot_window,
    power_off,
    power_on,
)
from provisioner.lifecycle.steps.reclaim import close_lease, shut_port
from provisioner.lifecycle.steps.sanitise import sanitise_disks


@dataclass(frozen=True, slots=True)
class StepSpec:
    run: Callable[[Job], Awaitable[Outcome]]
    in_ramdisk: bool = False
    """Needs a live ramdisk; after repeated failures the ramdisk is found or booted again."""


SPECS: dict[Step, StepSpec] = {
    Step.FIND_RAMDISK: StepSpec(find_ramdisk),
    Step.POWER_OFF: StepSpec(power_off),
    Step.OPEN_BOOT_WINDOW: StepSpec(open_boot_window),
    Step.POWER_ON: StepSpec(power_on),
    Step.AWAIT_RAMDISK: StepSpec(await_ramdisk),
    Step.COLLECT_FACTS: StepSpec(collect_facts, in_ramdisk=True),
    Step.SANITISE_DISKS: StepSpec(sanitise_disks, in_ramdisk=True),
    Step.CHECK_HARDWARE: StepSpec(check_hardware, in_ramdisk=True),
    Step.AWAIT_VERDICT: StepSpec(await_verdict, in_ramdisk=True),
    Step.WRITE_IMAGE: StepSpec(write_image, in_ramdisk=True),
    Step.PERSONALISE: StepSpec(personalise, in_ramdisk=True),
    Step.BOOT_TENANT: StepSpec(boot_tenant),
    Step.AWAIT_TENANT: StepSpec(await_tenant),
    Step.OPEN_PORT: StepSpec(open_port),
    Step.HAND_OVER: StepSpec(hand_over),
    Step.SHUT_PORT: StepSpec(shut_port),
    Step.CLOSE_LEASE: StepSpec(close_lease),
    Step.REACH_BMC: StepSpec(reach_bmc),
    Step.DISABLE_BMC_USERS: StepSpec(disable_bmc_users),
    Step.ROTATE_BMC_PASSWORD: StepSpec(rotate_bmc_password),
    Step.SHUT_DOWN: StepSpec(shut_down),
    Step.SWITCH_ON: StepSpec(switch_on),
    Step.RESET: StepSpec(reset),
}
