"""The choice of erase methods: strongest first, never below the class's floor."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.domain.sanitisation import (
    LEVELS,
    SanitisationLevel,
    SanitisationMethod,
    SanitiseCapabilities,
    methods,
)
from provisioner.drivers.plays.runner import PLAYBOOKS

sys.path.insert(0, str(PLAYBOOKS))
from library import sanitise_disks  # type: ignore[import-not-found]

disks = st.builds(
    SanitiseCapabilities,
    **dict.fromkeys(SanitiseCapabilities.__dataclass_fields__, st.booleans()),
)


@given(disks, st.sampled_from(SanitisationLevel))
def test_no_method_is_below_the_floor(disk: SanitiseCapabilities, floor: SanitisationLevel) -> None:
    assert all(LEVELS[method].satisfies(floor) for method in methods(disk, floor))


@given(disks)
def test_clear_is_always_possible(disk: SanitiseCapabilities) -> None:
    assert methods(disk, SanitisationLevel.CLEAR)[-1] is SanitisationMethod.OVERWRITE


def test_nothing_is_offered_for_purge_on_a_disk_that_can_only_be_overwritten() -> None:
    assert methods(SanitiseCapabilities(discard=True), SanitisationLevel.PURGE) == []


@pytest.mark.parametrize(
    ("capability", "method"),
    [
        ("sanitize_crypto", SanitisationMethod.NVME_SANITIZE_CRYPTO),
        ("sanitize_block", SanitisationMethod.NVME_SANITIZE_BLOCK),
        ("format_crypto", SanitisationMethod.NVME_FORMAT_CRYPTO),
        ("format_user_data", SanitisationMethod.NVME_FORMAT_USER_DATA),
        ("discard", SanitisationMethod.DISCARD_AND_OVERWRITE),
    ],
)
def test_a_disks_own_method_goes_before_overwriting(
    capability: str, method: SanitisationMethod
) -> None:
    offered = methods(SanitiseCapabilities(**{capability: True}), SanitisationLevel.CLEAR)
    assert list(offered) == [method, SanitisationMethod.OVERWRITE]


def test_the_strongest_comes_first() -> None:
    everything = SanitiseCapabilities(
        **dict.fromkeys(SanitiseCapabilities.__dataclass_fields__, True)
    )
    assert list(methods(everything, SanitisationLevel.CLEAR)) == list(SanitisationMethod)


def test_the_playbook_knows_every_method_and_no_other() -> None:
    assert list(sanitise_disks.METHODS) == list(SanitisationMethod) == list(LEVELS)
