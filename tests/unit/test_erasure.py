"""The choice of erase methods: strongest first, never below the class's floor."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.domain.sanitisation import LEVELS, EraseCapabilities, Level, Method, methods

disks = st.builds(
    EraseCapabilities,
    **dict.fromkeys(EraseCapabilities.__dataclass_fields__, st.booleans()),
)


@given(disks, st.sampled_from(Level))
def test_no_method_is_below_the_floor(disk: EraseCapabilities, floor: Level) -> None:
    assert all(LEVELS[method].satisfies(floor) for method in methods(disk, floor))


@given(disks)
def test_clear_is_always_possible(disk: EraseCapabilities) -> None:
    assert methods(disk, Level.CLEAR)[-1] is Method.OVERWRITE


def test_nothing_is_offered_for_purge_on_a_disk_that_can_only_be_overwritten() -> None:
    assert methods(EraseCapabilities(discard=True), Level.PURGE) == []


@pytest.mark.parametrize(
    ("capability", "method"),
    [
        ("sanitize_crypto", Method.NVME_SANITIZE_CRYPTO),
        ("sanitize_block", Method.NVME_SANITIZE_BLOCK),
        ("format_crypto", Method.NVME_FORMAT_CRYPTO),
        ("format_user_data", Method.NVME_FORMAT_USER_DATA),
        ("discard", Method.DISCARD_AND_OVERWRITE),
    ],
)
def test_a_disks_own_method_goes_before_overwriting(capability: str, method: Method) -> None:
    offered = methods(EraseCapabilities(**{capability: True}), Level.CLEAR)
    assert list(offered) == [method, Method.OVERWRITE]


def test_the_strongest_comes_first() -> None:
    everything = EraseCapabilities(**dict.fromkeys(EraseCapabilities.__dataclass_fields__, True))
    assert list(methods(everything, Level.CLEAR)) == list(Method)
